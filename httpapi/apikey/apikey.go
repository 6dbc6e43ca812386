package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash/crc32"
	"strings"
	"unsafe"

	"github.com/perfgate/perfgate/store/ids"
)

// The prefixes and lengths of a key, in bytes.
const (
	TestPrefix  = "pk_test_"
	LivePrefix  = "pk_live_"
	prefixLen   = len(TestPrefix)
	randomLen   = 32
	checksumLen = 6
	Len         = prefixLen + randomLen + checksumLen

	MinForeignLen = 16
	MaxForeignLen = 256
)

// New returns a fresh key with prefix, from crypto/rand.
func New(prefix string) string {
	body := prefix + ids.Random(randomLen)
	return body + Checksum(body)
}

// Checksum returns the 6 characters that follow body in a key.
func Checksum(body string) string {
	out := checksum(body)
	return string(out[:])
}

func checksum(body string) (out [checksumLen]byte) {
	ids.Put(out[:], uint64(crc(body)))
	return out
}

// crc is crc32.ChecksumIEEE of a string, read in place: the sum's argument
// escapes, and a copy on the heap would cost more than summing 40 bytes does.
func crc(s string) uint32 {
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// Form classifies a string by its shape.
type Form uint8

// The forms.
const (
	Malformed Form = iota // neither of the following
	Native                // prefix, length, alphabet and checksum are right
	BadSum                // looks native but its checksum is wrong
	Foreign               // could be an imported key
)

// Parse returns the form of s.
func Parse(s string) Form {
	if len(s) == Len && (strings.HasPrefix(s, LivePrefix) || strings.HasPrefix(s, TestPrefix)) && ids.Valid(s[prefixLen:]) {
		sum := checksum(s[:Len-checksumLen])
		if string(sum[:]) == s[Len-checksumLen:] {
			return Native
		}
		return BadSum
	}
	if len(s) < MinForeignLen || len(s) > MaxForeignLen {
		return Malformed
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return Malformed
		}
	}
	return Foreign
}

// Hint shows enough of a key to recognize it: prefix, first and last 4 of the
// random part. Of a foreign key it shows the first and last 2 characters, and of
// anything else nothing: it may be a password or half of a key.
func Hint(key string) string {
	switch Parse(key) {
	case Native, BadSum:
		return key[:prefixLen+4] + "…" + key[prefixLen+randomLen-4:prefixLen+randomLen]
	case Foreign:
		return key[:2] + "…" + key[len(key)-2:]
	}
	return ""
}

// Hash is the stored form of a key: HMAC-SHA-256(pepper, SHA-256(key)).
func Hash(pepper [32]byte, key string) [32]byte { return HashSum(pepper, sha256.Sum256([]byte(key))) }

// HashSum is [Hash] for a key of which only the SHA-256 is known (an import).
func HashSum(pepper, sum [32]byte) (out [32]byte) {
	m := hmac.New(sha256.New, pepper[:])
	m.Write(sum[:])
	m.Sum(out[:0])
	return out
}
