package keyring

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// KeySize is the size of every key, in bytes.
const KeySize = 32

// Key is a key-encryption key.
type Key [KeySize]byte

// String hides the key.
func (Key) String() string { return "(secret)" }

// NewKey makes a random key.
func NewKey() (k Key) {
	rand.Read(k[:]) // never fails
	return k
}

// Text is the key as a file or a command gives it: 64 hexadecimal digits.
func (k *Key) Text() string { return hex.EncodeToString(k[:]) }

// ID names the key without telling it.
func (k *Key) ID() string {
	id, err := hkdf.Key(sha256.New, k[:], nil, "perfgate keyring 1 id", 8)
	if err != nil {
		panic("BUG: " + err.Error()) // the length is constant
	}
	return hex.EncodeToString(id)
}

// ParseKey reads a key: 64 hexadecimal digits, or base64 of 32 bytes, with white space
// around it. Its errors do not repeat the text.
func ParseKey(text []byte) (k Key, err error) {
	s := strings.TrimSpace(string(text))
	if s == "" {
		return k, errors.New("it is empty; must be 32 bytes as 64 hexadecimal digits or as base64")
	}
	raw, err := hex.DecodeString(s)
	if err != nil {
		plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
		raw, err = base64.RawStdEncoding.DecodeString(plain)
	}
	switch {
	case err != nil:
		return k, fmt.Errorf("its %d characters are neither hexadecimal nor base64; must be 32 bytes as 64 hexadecimal digits or as base64", len(s))
	case len(raw) != KeySize:
		return k, fmt.Errorf("it has %d bytes; must be 32 bytes as 64 hexadecimal digits or as base64", len(raw))
	}
	return Key(raw), nil
}
