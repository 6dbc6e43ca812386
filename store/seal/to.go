package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// MaxRecipients bounds the recovery keys of a file.
const MaxRecipients = 16

// workFactor is scrypt's, as a power of two: about a second for each guess.
const workFactor = 18

// To says who can open a file. The zero value seals nothing.
type To struct {
	Passphrase string
	// Recipients are the public parts of recovery keys, "age1…"; each of them opens the file.
	Recipients []string
	// Work replaces the work factor of the passphrase, in tests.
	Work int
}

// None reports whether files stay as they are.
func (t To) None() bool { return t.Passphrase == "" && len(t.Recipients) == 0 }

// String names who can open a file. Public keys are no secrets.
func (t To) String() string {
	switch {
	case t.Passphrase != "":
		return "a passphrase"
	case len(t.Recipients) == 1:
		return "the recovery key " + t.Recipients[0]
	case len(t.Recipients) > 1:
		return "the recovery keys " + strings.Join(t.Recipients, ", ")
	}
	return "nobody"
}

// ParseRecipient parses the public part of a recovery key. Its error does not repeat the
// text, which may be the private part.
func ParseRecipient(text string) (age.Recipient, error) {
	if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
		return nil, errors.New(`must be the public key ("age1…"), and this is the private one: keep that away from the nodes, and make a new pair if it was stored here`)
	}
	if !strings.HasPrefix(text, "age1") || strings.ContainsAny(text, "\r\n") {
		return nil, errNoRecipient
	}
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(list) != 1 {
		return nil, errNoRecipient
	}
	return list[0], nil
}

var errNoRecipient = errors.New(`must be the public key that age-keygen prints ("age1…")`)

// Check reports whether a file can be sealed for t.
func (t To) Check() error {
	_, err := t.parse()
	return err
}

func (t To) parse() ([]age.Recipient, error) {
	if t.Passphrase != "" {
		if len(t.Recipients) > 0 {
			return nil, errors.New("a file has either a passphrase or recipients")
		}
		r, err := age.NewScryptRecipient(t.Passphrase)
		if err != nil {
			return nil, err
		}
		r.SetWorkFactor(workFactor)
		if t.Work > 0 {
			r.SetWorkFactor(t.Work)
		}
		return []age.Recipient{r}, nil
	}
	if n := len(t.Recipients); n == 0 || n > MaxRecipients {
		return nil, fmt.Errorf("must be 1 to %d recipients", MaxRecipients)
	}
	list := make([]age.Recipient, len(t.Recipients))
	seen, hybrid := map[string]bool{}, 0
	for i, text := range t.Recipients {
		r, err := ParseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		if seen[text] {
			return nil, fmt.Errorf("recipient %d is listed twice", i+1)
		}
		seen[text] = true
		if _, ok := r.(*age.HybridRecipient); ok {
			hybrid++
		}
		list[i] = r
	}
	if hybrid > 0 && hybrid < len(list) {
		return nil, errors.New(`recipients must all be post-quantum ("age1pq1…") or all classic: the weakest one decides`)
	}
	return list, nil
}

// Seal encrypts what is written to file, to w; the encrypted file is whole when file is
// closed. w stays open. With opens that one file again, so that it can be read back: who has
// only a public key could not do so otherwise.
func (t To) Seal(w io.Writer) (file io.WriteCloser, with With, err error) {
	list, err := t.parse()
	if err != nil {
		return nil, With{}, err
	}
	k := &keeper{Recipient: list[0]}
	list[0] = k
	if file, err = age.Encrypt(w, list...); err != nil {
		return nil, With{}, err
	}
	return file, With{fileKey: k.key}, nil
}

// keeper is a recipient that keeps the key of its file.
type keeper struct {
	age.Recipient
	key []byte
}

// WrapWithLabels implements [age.RecipientWithLabels].
func (k *keeper) WrapWithLabels(key []byte) (s []*age.Stanza, labels []string, err error) {
	k.key = bytes.Clone(key)
	if r, ok := k.Recipient.(age.RecipientWithLabels); ok {
		return r.WrapWithLabels(key)
	}
	s, err = k.Wrap(key)
	return s, nil, err
}
