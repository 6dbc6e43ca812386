package webhook

import (
	"crypto/hmac"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The vector of Standard Webhooks, and the hex digest that Python's hmac makes of the
// whole secret and the same body.
func TestSign(t *testing.T) {
	const secret, id, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	h := http.Header{}
	Sign(h, Secrets{Current: secret}, id, time.Unix(1614265330, 0), []byte(body))
	for name, want := range map[string]string{
		"webhook-id": id, "webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		"X-Perf-Signature": "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// While a rotation overlaps, a receiver verifies with either secret.
func TestSignInOverlap(t *testing.T) {
	old, now := NewSecret(), NewSecret()
	if key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(now, "whsec_")); err != nil || len(key) != 24 || old == now {
		t.Fatalf("secrets %q %q: %v", old, now, err)
	}
	older := NewSecret()
	var of [5]http.Header
	for i, s := range []Secrets{{old, nil}, {now, nil}, {now, []string{old}}, {older, nil}, {now, []string{older, old}}} {
		of[i] = http.Header{}
		Sign(of[i], s, "msg_1", time.Unix(1, 0), []byte("{}"))
	}
	if got, want := of[2].Get(StandardHeader), of[1].Get(StandardHeader)+" "+of[0].Get(StandardHeader); got != want {
		t.Errorf("signatures %s, want %s", got, want)
	}
	if !hmac.Equal([]byte(of[2].Get(SignatureHeader)), []byte(of[0].Get(SignatureHeader))) {
		t.Error("X-Perf-Signature is not the old secret's until the overlap ends")
	}
	// After a second rotation all three verify, and the oldest one has the single place.
	if got, want := of[4].Get(StandardHeader), of[2].Get(StandardHeader)+" "+of[3].Get(StandardHeader); got != want {
		t.Errorf("signatures %s, want %s", got, want)
	}
	if of[4].Get(SignatureHeader) != of[3].Get(SignatureHeader) {
		t.Error("X-Perf-Signature is not the oldest secret's")
	}
}
