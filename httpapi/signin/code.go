package signin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base32"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// Codes of RFC 6238 as all authenticators make them.
const (
	codeStep    = 30 * time.Second
	codeDigits  = otp.DigitsSix
	codeSkew    = 1 // steps before and after the present one that are accepted
	secretBytes = sha1.Size
)

// RecoveryCodes is how many recovery codes a user gets.
const RecoveryCodes = 10

// NewSecret is a secret for an authenticator, in base32 as it is typed in.
func NewSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:])
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// ParseSecret reads a secret as NewSecret writes it; false if it is none.
func ParseSecret(s string) ([]byte, bool) {
	enc := base32.StdEncoding.WithPadding(base32.NoPadding)
	b, err := enc.DecodeString(strings.ToUpper(s))
	return b, err == nil && len(b) == secretBytes && len(s) == enc.EncodedLen(secretBytes)
}

// CheckCode finds the time step around now of which code is the one, later than used;
// 0 if there is none. All steps take the same time.
func CheckCode(secret []byte, code string, used int64, now time.Time) (step int64) {
	present := now.Unix() / int64(codeStep/time.Second)
	key := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	for at := present - codeSkew; at <= present+codeSkew; at++ {
		want, err := hotp.GenerateCodeCustom(key, uint64(at), hotp.ValidateOpts{Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
		if err == nil && hmac.Equal([]byte(want), []byte(code)) && at > used {
			step = at
		}
	}
	return step
}

// IsCode reports whether s has the form of a code of an authenticator.
func IsCode(s string) bool {
	return len(s) == codeDigits.Length() && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// NewRecoveryCode is a code of 80 random bits, for a user who has lost the authenticator.
func NewRecoveryCode() string {
	var b [10]byte
	rand.Read(b[:])
	s := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
}

// Recovery brings a recovery code into the form that is hashed.
func Recovery(code string) string {
	return strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code))
}

// SecretURL is the secret as authenticators read it from a QR code.
func SecretURL(secret, user string) string {
	q := url.Values{"secret": {secret}, "issuer": {"perfgate"}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/perfgate:" + user, RawQuery: q.Encode()}
	return u.String()
}
