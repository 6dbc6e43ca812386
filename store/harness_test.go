package store

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// epoch is the time of the first command in tests.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// harness is a store under test with the log that was applied to it.
type harness struct {
	testing.TB
	*Store
	fs    vfs.FS
	index uint64
	at    time.Time
	log   []*raft.Log
	// leader stamps entries; nil stamps none.
	leader *leader
}

// leader is the clocks of the leader in a term.
type leader struct {
	term  uint64
	mono  time.Duration // since it started
	wrong time.Duration // of its wall clock, ahead of h.at
}

func openAt(tb testing.TB, fs vfs.FS) *Store {
	tb.Helper()
	s, err := Open(Config{FS: fs, Dir: "state", Fatal: func(err error) { tb.Errorf("fatal: %v", err) }})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// empty opens a store that has applied nothing.
func empty(tb testing.TB) *harness {
	tb.Helper()
	fs := vfs.NewMem()
	h := &harness{TB: tb, Store: openAt(tb, fs), fs: fs, at: epoch}
	tb.Cleanup(func() {
		if err := h.Store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// begun opens a store with an initialised cluster.
func begun(tb testing.TB) *harness {
	tb.Helper()
	h := empty(tb)
	h.must(&Command{Actor: Actor{Type: ActorSystem, ID: "n1"}, Change: &Init{
		ClusterID: "c1", Pepper: Hash{1}, OperatorToken: Hash{2}, DefaultTier: "free",
	}})
	return h
}

// entry makes the next log entry of c, one second after the last.
func (h *harness) entry(c *Command) *raft.Log {
	h.index++
	if c.At.IsZero() {
		h.at = h.at.Add(time.Second)
		c.At = h.at
	}
	if c.Actor == (Actor{}) {
		c.Actor = Actor{Type: ActorOperator, ID: "op"}
	}
	switch c.Change.(type) {
	case *Grant, *Init:
	default:
		if c.Account == "" {
			c.Account = DefaultAccount
		}
	}
	l := &raft.Log{Index: h.index, Term: 1, Type: raft.LogCommand, Data: c.Encode()}
	if h.leader != nil {
		l.Term = h.leader.term
		l.Data = Stamp{h.at.Add(h.leader.wrong).UnixNano(), int64(h.leader.mono)}.Put(l.Data)
	}
	h.log = append(h.log, l)
	return l
}

func (h *harness) do(c *Command) Result {
	h.Helper()
	r, ok := h.Apply(h.entry(c)).(Result)
	if !ok {
		h.Fatalf("entry %d was not applied", h.index)
	}
	return r
}

func (h *harness) must(c *Command) Result {
	h.Helper()
	r := h.do(c)
	if r.Refusal != nil {
		h.Fatalf("entry %d: refused: %+v", h.index, r.Refusal)
	}
	return r
}

// refused fails the test unless c is refused with why.
func (h *harness) refused(why Reason, c *Command) *Refusal {
	h.Helper()
	r := h.do(c)
	if r.Refusal == nil || r.Refusal.Reason != why {
		h.Fatalf("entry %d: got %+v, want refusal %s", h.index, r.Refusal, why)
	}
	return r.Refusal
}

// pass lets time pass for all clocks.
func (h *harness) pass(d time.Duration) {
	h.at = h.at.Add(d)
	if h.leader != nil {
		h.leader.mono += d
	}
}

func (h *harness) reopen() {
	h.Helper()
	if err := h.Store.Close(); err != nil {
		h.Fatal(err)
	}
	h.Store = openAt(h, h.fs)
}

func hashOf(name string) Hash { return sha256.Sum256([]byte(name)) }

// newKey is a live key called name, with an id and hash made of it.
func newKey(name string) Key {
	return Key{ID: KeyID("key_" + name), Hash: hashOf(name), Type: Live, Name: name, Scopes: []string{"write", "read"}, Hint: "pk_live_" + name + "…"}
}

func create(name string) *Command { return &Command{Change: &KeyCreate{Key: newKey(name)}} }

// dump is every row of the database, readable.
func dump(tb testing.TB, s *Store) string {
	tb.Helper()
	var b strings.Builder
	err := s.scanRange([]byte{0}, []byte{0xff}, func(row, value []byte) error {
		_, err := fmt.Fprintf(&b, "%q = %q\n", row, value)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
