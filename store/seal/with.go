package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// magic is how an age file begins.
const magic = "age-encryption.org/"

// maxWorkFactor bounds the work that a file may ask of its reader.
const maxWorkFactor = 22

// ErrSecret is wrapped by errors about a secret that is missing or wrong. Other errors of
// [With.Open] are about the file.
var ErrSecret = errors.New("the file is encrypted")

// Kind tells how a file is encrypted.
type Kind string

// The kinds of files.
const (
	Plain        Kind = ""
	Passphrase   Kind = "passphrase"
	RecoveryKeys Kind = "recovery_keys"
)

// With is what opens encrypted files. The zero value opens the others.
type With struct {
	Passphrase string
	// Identities are recovery keys, see [ParseIdentities].
	Identities []age.Identity

	fileKey []byte // of the one file; see [To.Seal]
}

// ParseIdentities parses the private parts of recovery keys, as age-keygen writes them: one a
// line, beside comments. Errors repeat nothing of the text.
func ParseIdentities(text []byte) ([]age.Identity, error) {
	if bytes.HasPrefix(text, []byte(magic)) || bytes.HasPrefix(text, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		return nil, errors.New("the file is encrypted itself; decrypt it first, with age --decrypt")
	}
	list, err := age.ParseIdentities(bytes.NewReader(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))))
	if err != nil {
		return nil, errors.New(`must be what age-keygen writes: lines "AGE-SECRET-KEY-…", and comments`)
	}
	return list, nil
}

// Open returns the content of src, which it decrypts if it is encrypted. Read errors of an
// encrypted file are about its content until the end: nothing of it counts before io.EOF.
func (w With) Open(src *bufio.Reader) (plain io.Reader, kind Kind, err error) {
	head, err := src.Peek(len(magic))
	if err != nil && err != io.EOF {
		return nil, Plain, err
	}
	if string(head) != magic {
		return src, Plain, nil
	}
	o := opening{With: w}
	plain, err = age.Decrypt(src, &o)
	return plain, o.kind, err
}

// opening is an identity that looks at how the file is encrypted and uses what fits.
type opening struct {
	With
	kind Kind
}

// Unwrap implements [age.Identity].
func (o *opening) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	o.kind = RecoveryKeys
	for _, s := range stanzas {
		if s.Type == "scrypt" {
			o.kind = Passphrase
		}
	}
	switch {
	case o.fileKey != nil:
		return o.fileKey, nil
	case o.kind == Passphrase:
		return o.withPassphrase(stanzas)
	case len(o.Identities) == 0:
		return nil, fmt.Errorf("%w for recovery keys: the private part of one of them is needed (--identity FILE)", ErrSecret)
	}
	for _, id := range o.Identities {
		if key, err := id.Unwrap(stanzas); !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, fmt.Errorf("%w for other recovery keys than the given identity", ErrSecret)
}

func (o *opening) withPassphrase(stanzas []*age.Stanza) ([]byte, error) {
	if o.Passphrase == "" {
		return nil, fmt.Errorf("%w: its passphrase is needed (PERFGATE_BACKUP_PASSPHRASE or --passphrase-file FILE)", ErrSecret)
	}
	id, err := age.NewScryptIdentity(o.Passphrase)
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	key, err := id.Unwrap(stanzas)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, fmt.Errorf("%w with another passphrase than the given one", ErrSecret)
	}
	return key, err
}
