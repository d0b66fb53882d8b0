// Command sendone sends one event: the shortest way, without retries. See ../relay for the real one.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// region: sendone
func send(url, secret, id string, body []byte) (*http.Response, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return nil, err
	}
	sentAt := fmt.Sprint(time.Now().Unix()) // sign anew for every attempt; keep id and body
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, sentAt, body)
	request, err := http.NewRequest(http.MethodPost, url+"/webhooks", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", sentAt)
	request.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	client := http.Client{Timeout: 10 * time.Second}
	return client.Do(request) // 202 and 200: taken; 429, 5xx or an error: again, same id
}

// endregion

func main() {
	response, err := send(os.Getenv("RELAY_URL"), os.Getenv("RELAY_WEBHOOK_SECRET"), os.Args[1], []byte(os.Args[2]))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.StatusCode)
}
