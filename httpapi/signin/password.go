package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// The cost of a hash: the second choice of RFC 9106 with less memory, as OWASP's
// cheat sheet on password storage has it (19 MiB, 2 passes, 1 lane).
const (
	hashMemory = 19 << 10 // KiB
	hashTime   = 2
	hashLanes  = 1
	hashBytes  = 32
	saltBytes  = 16
)

// The bounds of hashes in progress: 2 × 19 MiB of memory, and a wait for the last one of
// 16 hashes by two: 0.9 s where one takes 110 ms, as measured on a loaded machine.
const (
	hashesAtOnce  = 2
	hashesWaiting = 16
)

// The bounds of a password, in bytes. The lower one is that of NIST SP 800-63B.
const (
	MinPassword = 8
	MaxPassword = 256
)

// ErrBusy is the error of a hash that would have to wait for too many others.
var ErrBusy = errors.New("too many sign-ins at once")

// Hashes computes hashes of passwords, few at once. It is safe for concurrent use.
type Hashes struct {
	slots   chan struct{}
	waiting atomic.Int64
}

// NewHashes returns the hashes of one node.
func NewHashes() *Hashes { return &Hashes{slots: make(chan struct{}, hashesAtOnce)} }

// take waits for a place; release gives it back.
func (h *Hashes) take(ctx context.Context) (release func(), err error) {
	if h.waiting.Add(1) > hashesWaiting+hashesAtOnce {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; h.waiting.Add(-1) }, nil
	case <-ctx.Done():
		h.waiting.Add(-1)
		return nil, ctx.Err()
	}
}

// New hashes a password with a new salt, in the PHC string format.
func (h *Hashes) New(ctx context.Context, password string) (string, error) {
	release, err := h.take(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	var salt [saltBytes]byte
	rand.Read(salt[:])
	sum := argon2.IDKey([]byte(password), salt[:], hashTime, hashMemory, hashLanes, hashBytes)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashLanes, enc.EncodeToString(salt[:]), enc.EncodeToString(sum)), nil
}

// nobody is the hash that stands for a user who has none: nobody knows its password.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Verify reports whether hash is that of the password. Without a hash it takes as long
// and is false.
func (h *Hashes) Verify(ctx context.Context, hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = nobody
	}
	p, err := parse(hash)
	if err != nil {
		return false, err
	}
	release, err := h.take(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	sum := argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.lanes, uint32(len(p.sum)))
	return subtle.ConstantTimeCompare(sum, p.sum) == 1 && known, nil
}

type params struct {
	memory, time uint32
	lanes        uint8
	salt, sum    []byte
}

// parse reads a hash. Its cost is bounded: a hash comes from the state alone, but a
// backup of another installation may have others.
func parse(hash string) (p params, err error) {
	bad := errors.New("the hash of the password cannot be read; set the password again")
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, bad
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.lanes); n != 3 || err != nil {
		return p, bad
	}
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, bad
	}
	if p.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return p, bad
	}
	if p.memory > 4*hashMemory || p.time < 1 || p.time > 4*hashTime || p.lanes < 1 || p.lanes > 4 || len(p.sum) < 16 || len(p.sum) > 64 {
		return p, bad
	}
	return p, nil
}
