package supabasesync

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

func TestSigner_PublishedVectors_GiveTheirSignatures(t *testing.T) {
	content, err := os.ReadFile("testdata/standard-webhooks.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Defaults struct {
			ID   string
			Body string
			Now  int64
		}
		Vectors []struct {
			Name          string
			Signature     string
			SigningSecret string `json:"signing_secret"`
		}
	}
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, vector := range file.Vectors {
		if vector.SigningSecret == "" {
			continue
		}
		signer, err := NewSigner(vector.SigningSecret)
		if err != nil {
			t.Fatalf("%s: %v", vector.Name, err)
		}
		signature := signer.Sign(file.Defaults.ID, time.Unix(file.Defaults.Now, 0), []byte(file.Defaults.Body))
		if signature != vector.Signature {
			t.Errorf("%s: %s, want %s", vector.Name, signature, vector.Signature)
		}
		checked++
	}
	if checked < 3 {
		t.Fatalf("only %d vectors have a signing secret", checked)
	}
}

func TestNewSigner_UnusableSecret_IsRefused(t *testing.T) {
	for _, secret := range []string{"", "whsec_", "whpk_AAAA", "whsec_c2hvcnQ=", "whsec_!!!", "whsk_c2hvcnQ="} {
		if _, err := NewSigner(secret); err == nil {
			t.Errorf("%q was accepted", secret)
		}
	}
}
