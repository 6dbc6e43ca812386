package chain

import (
	"crypto/ed25519"
	"fmt"
)

// ReceiptFormat begins the signed text of the receipt of an erasure, before its JSON.
const ReceiptFormat = "perfgate erasure receipt 1\n"

// CheckText reports whether the trusted key id signed a text.
func (t Keys) CheckText(id string, text, signature []byte) error {
	public := t[id]
	switch {
	case public == nil:
		return fmt.Errorf("it is signed by the key %s, which is not trusted: compare it with the key of a head that you kept", id)
	case !ed25519.Verify(public, text, signature):
		return fmt.Errorf("it is not signed by the key %s: it was changed", id)
	}
	return nil
}
