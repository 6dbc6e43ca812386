package signin

import (
	"net/url"
	"regexp"
	"testing"
	"time"
)

// The vectors of RFC 6238, appendix B, for SHA-1, in the last six of eight digits.
func TestCodes(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		now := time.Unix(at, 0)
		if step := CheckCode(secret, code, 0, now); step != at/30 {
			t.Errorf("at %d: step %d, want %d", at, step, at/30)
		}
		for _, late := range []time.Duration{-30 * time.Second, 30 * time.Second} {
			if step := CheckCode(secret, code, 0, now.Add(late)); step != at/30 {
				t.Errorf("at %d, %v off: step %d", at, late, step)
			}
		}
		for _, late := range []time.Duration{-time.Minute, time.Minute} {
			if step := CheckCode(secret, code, 0, now.Add(late)); step != 0 && at > 60 {
				t.Errorf("at %d, %v off: step %d", at, late, step)
			}
		}
		if step := CheckCode(secret, code, at/30, now); step != 0 {
			t.Errorf("at %d, used before: step %d", at, step)
		}
	}
	for _, code := range []string{"", "28708", "2870822", "abcdef", "０００００0"} {
		if IsCode(code) != (len(code) == 6 && code[0] < 'a') || CheckCode(secret, code, 0, time.Unix(59, 0)) != 0 {
			t.Errorf("%q is a code", code)
		}
	}
}

func TestSecrets(t *testing.T) {
	s := NewSecret()
	if raw, ok := ParseSecret(s); !ok || len(raw) != secretBytes || s == NewSecret() {
		t.Errorf("%q: %v", s, ok)
	}
	for _, bad := range []string{"", "AAAA", s + "A", "1" + s[1:]} {
		if _, ok := ParseSecret(bad); ok {
			t.Errorf("%q is a secret", bad)
		}
	}
	u, err := url.Parse(SecretURL(s, "ada+b@example.com"))
	if err != nil || u.Scheme != "otpauth" || u.Query().Get("secret") != s || u.Path != "/perfgate:ada+b@example.com" {
		t.Errorf("%v %v", u, err)
	}
	code := NewRecoveryCode()
	if !regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`).MatchString(code) || len(Recovery(code)) != 16 || IsCode(Recovery(code)) {
		t.Errorf("%q", code)
	}
}
