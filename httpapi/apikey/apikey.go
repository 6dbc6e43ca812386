// Package apikey knows the form of API keys and nothing else: how they are
// made, checked, shown and hashed. A key is a prefix ("pk_test_" or "pk_live_"),
// 32 random base62 characters, and 6 checksum characters: the CRC-32 (IEEE) of
// everything before them in base62, padded with zeros. The checksum lets a typo
// or a made-up key be refused without a look-up, and lets scanners find leaked
// keys in files. Imported keys may have any form of 16–256 visible ASCII.
package apikey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"strings"
	"unsafe"
)

// Alphabet is base62 in the order of its digits' values.
const Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

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
	body := prefix + random(randomLen)
	return body + Checksum(body)
}

// NewID returns prefix and 22 base62 characters that nobody can guess.
func NewID(prefix string) string { return prefix + random(22) }

// random returns n uniformly distributed base62 characters.
func random(n int) string {
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		rand.Read(buf[:])
		for _, b := range buf {
			// 248 is the largest multiple of 62 below 256: a higher byte would
			// make the first digits likelier than the others.
			if b < 248 && len(out) < n {
				out = append(out, Alphabet[b%62])
			}
		}
	}
	return string(out)
}

// Checksum returns the 6 characters that follow body in a key.
func Checksum(body string) string {
	out := checksum(body)
	return string(out[:])
}

func checksum(body string) (out [checksumLen]byte) {
	sum := crc(body)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = Alphabet[sum%62]
		sum /= 62
	}
	return out
}

// crc is crc32.ChecksumIEEE of a string, read in place: the sum's argument
// escapes, and a copy on the heap would cost more than summing 40 bytes does.
func crc(s string) uint32 {
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// Form is what a string's shape says about it.
type Form uint8

// The forms.
const (
	Malformed Form = iota // neither of the following
	Native                // prefix, length, alphabet and checksum are right
	BadSum                // looks native but its checksum is wrong
	Foreign               // could be an imported key
)

// Parse tells the form of s.
func Parse(s string) Form {
	if len(s) == Len && (strings.HasPrefix(s, LivePrefix) || strings.HasPrefix(s, TestPrefix)) && isBase62(s[prefixLen:]) {
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

func isBase62(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Hint shows enough of a key to recognise it: prefix, first and last 4 of the
// random part. Of a foreign key it shows the first and last 2 characters, and of
// what is no key at all nothing: that may be a password or half of a key.
func Hint(key string) string {
	switch Parse(key) {
	case Native, BadSum:
		return key[:prefixLen+4] + "…" + key[prefixLen+randomLen-4:prefixLen+randomLen]
	case Foreign:
		return key[:2] + "…" + key[len(key)-2:]
	}
	return ""
}

// Hash is what is stored of a key: HMAC-SHA-256(pepper, SHA-256(key)).
func Hash(pepper [32]byte, key string) [32]byte { return HashSum(pepper, sha256.Sum256([]byte(key))) }

// HashSum is [Hash] for a key of which only the SHA-256 is known (an import).
func HashSum(pepper, sum [32]byte) (out [32]byte) {
	m := hmac.New(sha256.New, pepper[:])
	m.Write(sum[:])
	m.Sum(out[:0])
	return out
}
