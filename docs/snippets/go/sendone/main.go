// Command sendone sends one event without retries. The package relay has a complete client.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// send returns "accepted" or "duplicate". A 4xx error is final; after any other error, send the same
// id and body again.
func send(url, secret, id string, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return "", err
	}
	sentAt := fmt.Sprint(time.Now().Unix()) // renew for every attempt; keep id and body
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, sentAt, body)
	request, err := http.NewRequest(http.MethodPost, url+"/webhooks", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Close = true // one request per connection, so no other request's response can arrive
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", sentAt)
	request.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var receipt struct {
		EventID string `json:"event_id"`
		Status  string `json:"status"`
	}
	// A success must name the event; otherwise another server responded, and the event may be lost.
	isSuccess := response.StatusCode == http.StatusAccepted || response.StatusCode == http.StatusOK
	if !isSuccess || json.Unmarshal(answer, &receipt) != nil || receipt.EventID != id ||
		(receipt.Status != "accepted" && receipt.Status != "duplicate") {
		return "", fmt.Errorf("event %s is not delivered: %s %.200q", id, response.Status, answer)
	}
	return receipt.Status, nil
}

func main() {
	status, err := send(os.Getenv("RELAY_URL"), os.Getenv("RELAY_WEBHOOK_SECRET"), os.Args[1], []byte(os.Args[2]))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status)
}
