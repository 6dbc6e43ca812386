package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"
)

// The stored form of a key does not change: hashes are on disk.
func TestHashOfKey(t *testing.T) {
	pepper, key := [32]byte{7}, "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	sum := sha256.Sum256([]byte(key))
	mac := hmac.New(sha256.New, pepper[:])
	mac.Write(sum[:])
	if got := Hash(pepper, key); string(got[:]) != string(mac.Sum(nil)) {
		t.Errorf("Hash = %x", got)
	}
	h := NewHasher(pepper)
	if h.Pepper() != pepper || h.Hash(&sum) != Hash(pepper, key) {
		t.Error("the hasher uses another pepper")
	}
	if Hash([32]byte{8}, key) == Hash(pepper, key) || Hash(pepper, key+"x") == Hash(pepper, key) {
		t.Error("another pepper or key has the same hash")
	}
}
