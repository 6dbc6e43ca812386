package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Head fixes a stream up to the event numbered Seq.
type Head struct {
	Stream   string    `json:"stream"`
	Node     string    `json:"node"` // name of the node whose stream it is; "" for changes
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time"` // UTC, milliseconds
	Seq      uint64    `json:"seq"`
	Begin    uint64    `json:"begin"`    // number of the first event that is chained
	Accounts int64     `json:"accounts"` // chains in the tree
	Root     Hash      `json:"root"`     // over all accounts' chains
	Previous Hash      `json:"previous"` // hash of the stream's head before this one; zero if there was none
	Key      string    `json:"key"`      // id of the key that signed it

	Signature []byte `json:"signature"`
}

// message is the signed text of h.
func (h *Head) message() []byte {
	b := []byte("perfgate audit head 1\n")
	b = appendText(b, h.Stream)
	b = appendText(b, h.Node)
	for _, n := range []uint64{h.Number, uint64(h.Time.UnixMilli()), h.Seq, h.Begin, uint64(h.Accounts)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, h.Root[:]...)
	b = append(b, h.Previous[:]...)
	return appendText(b, h.Key)
}

// Hash is the hash that the stream's next head has as Previous.
func (h *Head) Hash() Hash { return sha256.Sum256(h.message()) }

// Sign signs h with key.
func (h *Head) Sign(key ed25519.PrivateKey) {
	h.Key = KeyID(key.Public().(ed25519.PublicKey))
	h.Signature = ed25519.Sign(key, h.message())
}

// Key is a public key that signs heads. Each key but the first of a cluster is
// endorsed by the one before it.
type Key struct {
	ID        string    `json:"id"`
	Public    []byte    `json:"public_key"` // Ed25519, 32 bytes
	CreatedAt time.Time `json:"created_at"`
	Endorser  string    `json:"endorsed_by,omitzero"` // id of the key before it
	Signature []byte    `json:"endorsement,omitzero"` // by that key, of this one
}

// KeyID is the id of a public key: the beginning of its hash.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return "ask_" + hex.EncodeToString(sum[:16])
}

// NewKey returns the public part of key, endorsed by the key before it, if any.
func NewKey(key, before ed25519.PrivateKey, at time.Time) Key {
	k := Key{Public: key.Public().(ed25519.PublicKey), CreatedAt: at}
	k.ID = KeyID(k.Public)
	if before != nil {
		k.Endorser = KeyID(before.Public().(ed25519.PublicKey))
		k.Signature = ed25519.Sign(before, k.message())
	}
	return k
}

func (k *Key) message() []byte {
	b := []byte("perfgate audit key 1\n")
	b = append(b, k.Public...)
	return binary.BigEndian.AppendUint64(b, uint64(k.CreatedAt.UnixMilli()))
}

// Keys are the keys that a verifier trusts, by id.
type Keys map[string]ed25519.PublicKey

// errKey is the fault of a key that does not fit its id.
var errKey = errors.New("a signing key does not match its id")

// Add trusts a key without an endorsement.
func (t Keys) Add(k *Key) error {
	if len(k.Public) != ed25519.PublicKeySize || KeyID(k.Public) != k.ID {
		return errKey
	}
	t[k.ID] = k.Public
	return nil
}

// Follow trusts each key of list that a trusted key endorsed. The list is in the order
// in which the keys were made.
func (t Keys) Follow(list []Key) error {
	for i := range list {
		k := &list[i]
		if len(k.Public) != ed25519.PublicKeySize || KeyID(k.Public) != k.ID {
			return errKey
		}
		if by := t[k.Endorser]; by != nil && ed25519.Verify(by, k.message(), k.Signature) {
			t[k.ID] = k.Public
		}
	}
	return nil
}

// Check reports whether a trusted key signed h.
func (t Keys) Check(h *Head) error {
	public := t[h.Key]
	switch {
	case public == nil:
		return fmt.Errorf("head %d of stream %s is signed by the key %s, which is not trusted: compare it with the key of a head that you kept", h.Number, h.Stream, h.Key)
	case !ed25519.Verify(public, h.message(), h.Signature):
		return fmt.Errorf("head %d of stream %s is not signed by the key %s: it was changed", h.Number, h.Stream, h.Key)
	}
	return nil
}
