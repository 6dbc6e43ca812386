package ids

import (
	"crypto/rand"
	"math"
	"strings"
	"sync"
	"time"
)

// Alphabet lists the base62 digits by their values, which is also the order of
// their bytes.
const Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const base = uint64(len(Alphabet))

// Len is the number of random digits of an id: 22 digits hold 130 bits.
const Len = 22

// timeLen is the number of digits of a time in milliseconds, enough until the
// year 8888.
const timeLen = 8

// Uint64Len is the number of digits that hold any uint64.
const Uint64Len = 11

// New returns prefix and Len digits from crypto/rand that cannot be guessed.
func New(prefix string) string {
	var room [64]byte
	return string(appendRandom(append(room[:0], prefix...), Len))
}

// Source makes ids as New does, many at a time: one call of crypto/rand and one
// allocation serve sourceIDs of them. The zero value is of no use; see [NewSource]. It is
// safe for concurrent use.
type Source struct {
	prefix string
	blocks sync.Pool // of *string: ids that nobody has got yet
}

// sourceIDs is the number of ids that share an allocation: who keeps one keeps all of
// them, less than 2 KiB with a short prefix.
const sourceIDs = 32

// NewSource returns a source of ids with a prefix.
func NewSource(prefix string) *Source { return &Source{prefix: prefix} }

// New returns an id.
func (s *Source) New() string {
	block, _ := s.blocks.Get().(*string)
	if block == nil {
		block = new(string)
	}
	if *block == "" {
		*block = s.make()
	}
	n := len(s.prefix) + Len
	id := (*block)[:n]
	*block = (*block)[n:]
	s.blocks.Put(block)
	return id
}

// make returns sourceIDs ids in one text.
func (s *Source) make() string {
	var digits [sourceIDs * Len]byte
	appendRandom(digits[:0], len(digits))
	var b strings.Builder
	b.Grow(sourceIDs * (len(s.prefix) + Len))
	for i := range sourceIDs {
		b.WriteString(s.prefix)
		b.Write(digits[i*Len : (i+1)*Len])
	}
	return b.String()
}

// NewSorted returns prefix, 8 digits that sort by now (in milliseconds) and 14
// random digits.
func NewSorted(prefix string, now time.Time) string {
	var room [64]byte
	b := append(room[:0], prefix...)
	b = Append(b, uint64(now.UnixMilli()), timeLen)
	return string(appendRandom(b, Len-timeLen))
}

// Random returns n uniformly distributed digits from crypto/rand.
func Random(n int) string { return string(appendRandom(make([]byte, 0, n), n)) }

// appendRandom appends n such digits.
func appendRandom(dst []byte, n int) []byte {
	var room [256]byte
	for n > 0 {
		buf := room[:min(len(room), n+n/8+8)] // some are left out
		rand.Read(buf)                        // never fails
		for _, b := range buf {
			// 248 is the largest multiple of 62 below 256: a higher byte would
			// make the first digits likelier than the others.
			if b < 248 && n > 0 {
				dst = append(dst, Alphabet[uint64(b)%base])
				n--
			}
		}
	}
	return dst
}

// Put fills dst with the lowest digits of v, the highest of them first. Digits
// that do not fit are left out; places that v does not need become "0".
func Put(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = Alphabet[v%base]
		v /= base
	}
}

// Append appends v in width digits; see [Put].
func Append(dst []byte, v uint64, width int) []byte {
	n := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	Put(dst[n:], v)
	return dst
}

// Valid reports whether s has no other bytes than base62 digits.
func Valid(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Number is the value of digits; false if one is no base62 digit or it exceeds a uint64.
func Number(digits string) (v uint64, ok bool) {
	for i := range len(digits) {
		d := strings.IndexByte(Alphabet, digits[i])
		if d < 0 || v > (math.MaxUint64-uint64(d))/base {
			return 0, false
		}
		v = v*base + uint64(d)
	}
	return v, digits != ""
}
