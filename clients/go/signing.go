package supabasesync

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Signer signs requests as [Standard Webhooks 1.0.0] says.
//
// [Standard Webhooks 1.0.0]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
type Signer struct {
	version string
	sign    func(content []byte) []byte
}

const (
	symmetricPrefix  = "whsec_"
	privateKeyPrefix = "whsk_"
	leastSecretBytes = 24
)

// NewSigner reads a secret: whsec_ for v1 (HMAC-SHA256), or the private key whsk_ for v1a (ed25519).
func NewSigner(secret string) (*Signer, error) {
	secret = strings.TrimSpace(secret)
	if encoded, ok := strings.CutPrefix(secret, symmetricPrefix); ok {
		key, err := decodeBase64(encoded)
		if err != nil || len(key) < leastSecretBytes {
			return nil, errors.New("supabasesync: the secret is not whsec_ and 24 bytes or more in base64")
		}
		return &Signer{"v1", func(content []byte) []byte {
			mac := hmac.New(sha256.New, key)
			mac.Write(content)
			return mac.Sum(nil)
		}}, nil
	}
	if encoded, ok := strings.CutPrefix(secret, privateKeyPrefix); ok {
		key, err := decodeBase64(encoded)
		if err != nil || (len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize) {
			return nil, errors.New("supabasesync: the private key is not whsk_ and 32 or 64 bytes in base64")
		}
		private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
		return &Signer{"v1a", func(content []byte) []byte { return ed25519.Sign(private, content) }}, nil
	}
	return nil, errors.New("supabasesync: the secret begins neither with whsec_ nor with whsk_")
}

// Sign returns the webhook-signature header of a request.
func (s *Signer) Sign(id string, sentAt time.Time, body []byte) string {
	content := make([]byte, 0, len(id)+len(body)+16)
	content = append(content, id...)
	content = append(content, '.')
	content = strconv.AppendInt(content, sentAt.Unix(), 10)
	content = append(content, '.')
	content = append(content, body...)
	return s.version + "," + base64.StdEncoding.EncodeToString(s.sign(content))
}

func decodeBase64(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}
