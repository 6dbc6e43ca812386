package signin

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPasswords(t *testing.T) {
	h := NewHashes()
	hash, err := h.New(t.Context(), "correct horse")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q %v", hash, err)
	}
	if again, _ := h.New(t.Context(), "correct horse"); again == hash {
		t.Error("two hashes have one salt")
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false} {
		if ok, err := h.Verify(t.Context(), hash, password); ok != want || err != nil {
			t.Errorf("%q: %v %v", password, ok, err)
		}
	}
	// Nobody has the hash that stands for nobody.
	if ok, err := h.Verify(t.Context(), "", ""); ok || err != nil {
		t.Errorf("without a hash: %v %v", ok, err)
	}
	for _, bad := range []string{"x", "$argon2i$v=19$m=1,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=99999999,t=2,p=1$AAAA$" + strings.Repeat("A", 43),
		"$argon2id$v=19$m=19456,t=0,p=1$AAAA$" + strings.Repeat("A", 43), "$argon2id$v=19$m=19456,t=2,p=1$AAAA$AAAA", "$argon2id$v=18$m=19456,t=2,p=1$AAAA$" + strings.Repeat("A", 43)} {
		if ok, err := h.Verify(t.Context(), bad, "x"); ok || err == nil {
			t.Errorf("%q: %v %v", bad, ok, err)
		}
	}
}

// A node computes few hashes at once, lets some wait, and refuses the rest.
func TestHashesAreBounded(t *testing.T) {
	h := NewHashes()
	ctx, cancel := context.WithCancel(t.Context())
	var held []func()
	for range hashesAtOnce {
		release, err := h.take(ctx)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, release)
	}
	var waiting sync.WaitGroup
	errs := make(chan error, hashesWaiting)
	for range hashesWaiting {
		waiting.Go(func() { _, err := h.take(ctx); errs <- err })
	}
	for deadline := time.Now().Add(30 * time.Second); h.waiting.Load() < hashesWaiting+hashesAtOnce; {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", h.waiting.Load())
		}
	}
	if _, err := h.take(ctx); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	cancel() // those who wait give up
	waiting.Wait()
	for range hashesWaiting {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("one that waited: %v", err)
		}
	}
	for _, release := range held {
		release()
	}
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("%d are counted afterwards", n)
	}
	release, err := h.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func FuzzHash(f *testing.F) {
	f.Add(nobody)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, hash string) {
		if p, err := parse(hash); err == nil && (p.memory > 4*hashMemory || p.time > 4*hashTime || len(p.sum) > 64) {
			t.Errorf("%q costs %+v", hash, p)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := NewHashes()
	for b.Loop() {
		if _, err := h.New(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
