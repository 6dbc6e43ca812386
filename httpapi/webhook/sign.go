package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
const (
	SignatureHeader = "X-Perf-Signature"
	IDHeader        = "Webhook-Id"
	TimestampHeader = "Webhook-Timestamp"
	StandardHeader  = "Webhook-Signature"
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 24 // as Standard Webhooks recommends: 24 to 64
)

// NewSecret makes a secret in the form of Standard Webhooks.
func NewSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// Secrets are an endpoint's secrets: there are old ones, the oldest first, while rotations
// overlap.
type Secrets struct {
	Current string
	Old     []string
}

// Sign sets the headers by which a receiver verifies body. X-Perf-Signature has room for
// one signature: the oldest secret's while rotations overlap, so that a receiver that knows
// that one only goes on. Webhook-Signature has all.
func Sign(h http.Header, s Secrets, id string, at time.Time, body []byte) {
	own := s.Current
	if len(s.Old) > 0 {
		own = s.Old[0]
	}
	h.Set(SignatureHeader, hex.EncodeToString(mac([]byte(own), body)))
	seconds := strconv.FormatInt(at.Unix(), 10)
	h.Set(IDHeader, id)
	h.Set(TimestampHeader, seconds)
	list := []string{standard(s.Current, id, seconds, body)}
	for _, old := range slices.Backward(s.Old) {
		list = append(list, standard(old, id, seconds, body))
	}
	h.Set(StandardHeader, strings.Join(list, " "))
}

// standard is a signature as Standard Webhooks defines it, with the decoded secret as key.
func standard(secret, id, seconds string, body []byte) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		key = []byte(secret) // a secret that perfgate did not make; no library verifies it either
	}
	return "v1," + base64.StdEncoding.EncodeToString(mac(key, []byte(id+"."+seconds+"."), body))
}

func mac(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}
