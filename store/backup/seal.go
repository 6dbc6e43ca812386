package backup

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// sealedMagic is how an age file begins.
const sealedMagic = "age-encryption.org/"

// errPassphrase is wrapped by the error about a passphrase that is missing or wrong.
var errPassphrase = errors.New("passphrase")

// workFactor is scrypt's, as a power of two: about a second for each guess.
var workFactor = 18

// maxWorkFactor bounds the work that a file may ask of its reader.
const maxWorkFactor = 22

// Seal encrypts the bytes written to it to passphrase; the file is whole when it
// is closed. w stays open.
func Seal(w io.Writer, passphrase string) (io.WriteCloser, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPassphrase, err)
	}
	to.SetWorkFactor(workFactor)
	return age.Encrypt(w, to)
}

// unseal opens src if it is sealed.
func unseal(src *bufio.Reader, passphrase string) (plain io.Reader, sealed bool, err error) {
	head, err := src.Peek(len(sealedMagic))
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if string(head) != sealedMagic {
		return src, false, nil
	}
	if passphrase == "" {
		return nil, true, fmt.Errorf("the backup is encrypted: a %w is needed", errPassphrase)
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", errPassphrase, err)
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	r, err := age.Decrypt(src, id)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, true, fmt.Errorf("the backup cannot be opened with this %w", errPassphrase)
	}
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return opened{r}, true, nil
}

// opened is an age file: every read error of it is damage.
type opened struct{ r io.Reader }

func (o opened) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return n, err
}
