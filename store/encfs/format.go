package encfs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Sizes of the format, in bytes.
const (
	headerSize = 64
	saltSize   = 16
	tagSize    = 16
	blockSize  = 4096                // of plaintext
	sealedSize = blockSize + tagSize // of a whole block in the file
	frameHead  = 4 + 4 + 8
	maxFrame   = 64 << 10                // of plaintext in one frame
	endFrame   = frameHead + 8 + tagSize // the frame that Close appends
	markFrame  = frameHead + tagSize     // the frame that follows a Sync
	endMark    = 1 << 31                 // in the length of that frame
	keySize    = 32                      // of data keys and file keys
	version    = 1
)

var magic = [8]byte{'P', 'G', 'C', 'R', 'Y', 'P', 'T', '\n'}

// layout says how the content of a file is cut into sealed pieces.
type layout byte

const (
	blocks layout = 1 + iota
	logs
	whole
)

// layoutOf is the layout of a file that is created with this name.
func layoutOf(base string) layout {
	switch {
	case strings.HasSuffix(base, ".sst"), strings.HasSuffix(base, ".blob"):
		return blocks
	case strings.HasSuffix(base, ".log"), strings.HasPrefix(base, "MANIFEST-"):
		return logs
	}
	return whole
}

// KeyID names a data key. It is random and no secret.
type KeyID [16]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Keys are the data keys of a file system, of 32 bytes each. They may be called from any
// goroutine.
type Keys interface {
	// Current is the key that new files get.
	Current() (KeyID, []byte)
	// Key is the key with that id; ok is false if there is none.
	Key(id KeyID) (key []byte, ok bool)
}

// DamageError is the error of a file that differs from the one that was written.
type DamageError struct {
	Path   string
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("file %q is damaged: %s", e.Path, e.Reason)
}

// Unwrap makes the error one of corruption for Pebble.
func (e *DamageError) Unwrap() error { return pebble.ErrCorruption }

// errNoHeader: the file does not begin as an encrypted one does.
var errNoHeader = errors.New("it does not begin with the header of an encrypted file")

// header is the content of a file's first bytes.
type header struct {
	layout layout
	key    KeyID
	salt   [saltSize]byte
}

// seal returns the header's bytes and the cipher of the file.
func (h *header) seal(dataKey []byte) ([]byte, cipher.AEAD, error) {
	aead, err := h.cipher(dataKey)
	if err != nil {
		return nil, nil, err
	}
	raw := h.raw()
	return aead.Seal(raw, headerNonce[:], nil, raw), aead, nil
}

// raw is the header without its tag, with room for it.
func (h *header) raw() []byte {
	raw := make([]byte, 0, headerSize)
	raw = append(raw, magic[:]...)
	raw = append(raw, version, byte(h.layout), 0, 0, 0, 0, 0, 0)
	raw = append(raw, h.key[:]...)
	return append(raw, h.salt[:]...)
}

// cipher derives the file's key. Its layout is part of the derivation: the pieces of one
// layout mean nothing in another.
func (h *header) cipher(dataKey []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, dataKey, h.salt[:], fmt.Sprintf("perfgate encfs %d layout %d", version, h.layout), keySize)
	if err != nil {
		return nil, fmt.Errorf("derive a file's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive a file's key: %w", err)
	}
	return cipher.NewGCM(block)
}

// newHeader is the header of a new file under the current data key.
func newHeader(l layout, keys Keys) (h header, raw []byte, aead cipher.AEAD, err error) {
	id, key := keys.Current()
	h = header{layout: l, key: id}
	rand.Read(h.salt[:]) // never fails
	raw, aead, err = h.seal(key)
	return h, raw, aead, err
}

// parseHeader reads a header without its key: nothing in it can be trusted yet.
func parseHeader(raw []byte) (h header, err error) {
	if len(raw) < headerSize || [8]byte(raw) != magic {
		return h, errNoHeader
	}
	if raw[8] != version {
		return h, fmt.Errorf("its header has version %d; this program knows %d", raw[8], version)
	}
	h.layout = layout(raw[9])
	if h.layout < blocks || h.layout > whole {
		return h, fmt.Errorf("its header has the unknown layout %d", h.layout)
	}
	copy(h.key[:], raw[16:])
	copy(h.salt[:], raw[32:])
	return h, nil
}

// openHeader reads and authenticates a header. An error is about the content.
func openHeader(raw []byte, keys Keys) (h header, aead cipher.AEAD, err error) {
	if h, err = parseHeader(raw); err != nil {
		return h, nil, err
	}
	key, ok := keys.Key(h.key)
	if !ok {
		return h, nil, fmt.Errorf("its header names the data key %s, which is not in the keyring", h.key)
	}
	if aead, err = h.cipher(key); err != nil {
		return h, nil, err
	}
	if _, err := aead.Open(nil, headerNonce[:], raw[48:headerSize], raw[:48]); err != nil {
		return h, nil, errors.New("its header does not authenticate")
	}
	return h, aead, nil
}

// nonce begins with the kind of a piece and ends with its number.
type nonce [12]byte

// Kinds of pieces. They differ, so a file of one layout has one use of each nonce.
const (
	kindBlock  = 1
	kindLast   = 2
	kindFrame  = 3
	kindEnd    = 4
	kindHeader = 0xff
)

var headerNonce = nonce{kindHeader}

func pieceNonce(kind byte, number uint64) (n nonce) {
	n[0] = kind
	binary.BigEndian.PutUint64(n[4:], number)
	return n
}
