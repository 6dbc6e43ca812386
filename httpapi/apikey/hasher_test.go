package apikey

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// The pooled states must give the same as the plain construction, after any other
// keys.
func TestHasherIsHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pepper := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "pepper"))
		h := NewHasher(pepper)
		for _, key := range rapid.SliceOf(rapid.StringN(0, 300, -1)).Draw(t, "keys") {
			sum, other := Sum(key), Sum(key+"x")
			if h.Hash(&sum) != Hash(pepper, key) {
				t.Fatalf("Hasher and Hash differ on %q", key)
			}
			if hash, ok := h.Known(&sum); !ok || hash != Hash(pepper, key) {
				t.Fatalf("Known(%q) = %x, %t", key, hash, ok)
			}
			if _, ok := h.Known(&other); ok {
				t.Fatalf("Known knows %q, which was never hashed", key+"x")
			}
		}
	})
}

func TestHasherIsConcurrent(t *testing.T) {
	pepper := [32]byte{1, 2, 3}
	h := NewHasher(pepper)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := strings.Repeat(string(rune('a'+i)), 46)
			want := Hash(pepper, key)
			for range 1000 {
				if sum := Sum(key); h.Hash(&sum) != want {
					t.Error("a hash mixed with another's")
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestHashSumIsHashOfTheKnownSum(t *testing.T) {
	pepper := [32]byte{9}
	key := New(TestPrefix)
	if HashSum(pepper, sha256.Sum256([]byte(key))) != Hash(pepper, key) {
		t.Fatal("a key imported by its SHA-256 would not be found by itself")
	}
}

// Keys in use that share a set do not take each other's place, and a third one takes
// that of the first.
func TestHasherRemembersTwo(t *testing.T) {
	h := NewHasher([32]byte{1})
	sets := map[*[knownWays]atomic.Pointer[knownKey]][]string{}
	var shared []string
	for i := 0; len(shared) < 3; i++ {
		key := fmt.Sprint("key-", i)
		sum := sha256.Sum256([]byte(key))
		set := h.set(&sum)
		sets[set] = append(sets[set], key)
		shared = sets[set]
	}
	known := func() (out [3]bool) {
		for i, key := range shared {
			sum := Sum(key)
			_, out[i] = h.Known(&sum)
		}
		return out
	}
	for i, want := range [][3]bool{{true, false, false}, {true, true, false}, {false, true, true}} {
		sum := Sum(shared[i])
		h.Hash(&sum)
		h.Hash(&sum) // again, as two requests at once do
		if got := known(); got != want {
			t.Errorf("after %d keys of one set: %v, want %v", i+1, got, want)
		}
	}
}

// The three ways of a key: in use, new, and one of a thousand in use.
func BenchmarkHasher(b *testing.B) {
	h, key := NewHasher([32]byte{1}), New(LivePrefix)
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sum := Sum(key)
			h.Hash(&sum)
		}
	})
	hash := func(key string) {
		sum := Sum(key)
		if _, ok := h.Known(&sum); !ok {
			h.Hash(&sum)
		}
	}
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			hash(key)
		}
	})
	b.Run("thousand", func(b *testing.B) {
		keys := make([]string, 1000)
		for i := range keys {
			keys[i] = New(LivePrefix)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			hash(keys[i%len(keys)])
		}
	})
}

func BenchmarkParse(b *testing.B) {
	key := New(LivePrefix)
	b.ReportAllocs()
	for b.Loop() {
		if Parse(key) != Native {
			b.Fatal("not native")
		}
	}
}
