package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// cluster is two nodes that share one state, without a network.
type cluster struct {
	*testing.T
	store *store.Store
	mu    sync.Mutex // guards index, and is held while an entry is applied
	index uint64
	nodes map[string]*Log
	local map[string]*local.Local
	down  map[string]bool
	lost  error // why nothing can be proposed; nil if it can
}

func start(t *testing.T, names ...string) *cluster {
	t.Helper()
	c := unfounded(t, names...)
	c.found()
	return c
}

// found makes the state.
func (c *cluster) found() {
	c.Helper()
	r, err := c.propose(c.Context(), &store.Command{At: time.Now().Truncate(time.Millisecond), Change: &store.Init{ClusterID: "c", DefaultTier: "free"}})
	if err != nil || r.Refusal != nil {
		c.Fatal(err, r.Refusal)
	}
}

// unfounded is a cluster whose state is not made yet.
func unfounded(t *testing.T, names ...string) *cluster {
	t.Helper()
	s, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state", Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{T: t, store: s, nodes: map[string]*Log{}, local: map[string]*local.Local{}, down: map[string]bool{}}
	t.Cleanup(func() {
		for name, l := range c.nodes {
			l.Close()
			if err := c.local[name].Close(); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range names {
		l, err := local.Open(local.Config{FS: vfs.NewMem(), Dir: "local", Node: name, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		c.local[name] = l
		c.nodes[name] = New(Config{
			Store: s, Local: l, Node: name, Logger: quiet, Propose: c.propose,
			Linearize: func(context.Context) error { return nil },
			Leads:     func() bool { return name == names[0] }, Complete: func() bool { return true },
			Others: func() (list []store.Member) {
				for _, other := range names {
					if other != name {
						list = append(list, store.Member{ID: other, Name: other, Level: store.Level})
					}
				}
				return list
			},
			Ask: func(ctx context.Context, id string, body []byte) ([]byte, error) {
				if c.down[id] {
					return nil, errors.New("it is down")
				}
				return c.nodes[id].Serve(ctx, body)
			},
		})
	}
	return c
}

func (c *cluster) propose(_ context.Context, cmd *store.Command) (store.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return store.Result{}, c.lost
	}
	c.index++
	r, _ := c.store.Apply(&raft.Log{Index: c.index, Term: 1, Type: raft.LogCommand, Data: cmd.Encode()}).(store.Result)
	return r, nil
}

// requests observes n requests at a node.
func (c *cluster) requests(node string, n int) {
	for i := range n {
		c.local[node].Observe(&local.Observation{At: time.Now(), Method: "GET", Status: 200, Account: store.DefaultAccount,
			Key: "key_a", Route: "/", RequestID: fmt.Sprint(node, i), UserAgent: strings.Repeat("x", 200)})
	}
}

// read reads everything at a node: events, chains and segments.
func (c *cluster) read(node string, proven bool) (events int, chains []chain.Chain, missing []chain.Missing, err error) {
	r, err := c.nodes[node].Read(c.Context(), store.EventQuery{Account: store.DefaultAccount}, proven)
	if err != nil {
		return 0, nil, nil, err
	}
	defer r.Close()
	for _, s := range r.Streams() {
		for _, failed := range s {
			if failed != nil {
				return events, nil, r.Missing(), failed
			}
			events++
		}
	}
	for p, failed := range r.Proof() {
		switch {
		case failed != nil:
			return events, chains, r.Missing(), failed
		case p.Chain != nil:
			chains = append(chains, *p.Chain)
		default:
			last := &chains[len(chains)-1]
			last.Segments = append(last.Segments, *p.Shown)
		}
	}
	return events, chains, r.Missing(), nil
}

func (c *cluster) begin() {
	c.Helper()
	c.nodes["n1"].begin(c.Context())
	if len(c.store.AuditKeys()) != 1 {
		c.Fatal("there is no key")
	}
}

// A reading holds the events of all nodes, in parts, with a signed head for each stream; a
// node that is down is named.
func TestReadAllNodes(t *testing.T) {
	c := start(t, "n1", "n2")
	c.begin()
	c.requests("n1", 5)
	c.requests("n2", 2*partEvents+7)
	for _, node := range []string{"n1", "n2"} {
		events, chains, missing, err := c.read(node, true)
		if err != nil || events != 5+2*partEvents+7+2 || len(missing) > 0 || len(chains) != 3 {
			t.Fatalf("at %s: %d events, %d chains, missing %v, %v", node, events, len(chains), missing, err)
		}
		for _, ch := range chains {
			if ch.Head == nil || ch.Unsaved != "" || len(ch.Segments) == 0 {
				t.Errorf("at %s: the chain of %s has the head %v: %s", node, ch.Stream, ch.Head, ch.Unsaved)
			}
		}
	}
	if events, chains, _, err := c.read("n1", false); err != nil || events == 0 || chains == nil {
		t.Errorf("a page: %d events, %d chains, %v", events, len(chains), err)
	}
	c.down["n2"] = true
	events, chains, missing, err := c.read("n1", true)
	if err != nil || events != 7 || len(chains) != 2 || len(missing) != 1 || missing[0].Node != "n2" {
		t.Errorf("with n2 down: %d events, missing %v, %v", events, missing, err)
	}
	heads, err := c.nodes["n1"].Heads(t.Context(), store.DefaultAccount)
	if err != nil || len(heads.Data) != 2 || len(heads.Missing) != 1 || len(heads.Keys) != 1 {
		t.Errorf("heads with n2 down: %+v, %v", heads, err)
	}
}

// Without a key or a majority nothing is signed; the export says so, and there are no heads.
func TestUnsigned(t *testing.T) {
	c := start(t, "n1")
	c.requests("n1", 3)
	for _, prepare := range []func(){func() {}, func() { c.begin(); c.requests("n1", 1); c.lost = errors.New("no leader") }} {
		prepare()
		_, chains, _, err := c.read("n1", true)
		if err != nil || len(chains) == 0 {
			t.Fatalf("%d chains, %v", len(chains), err)
		}
		if last := chains[len(chains)-1]; last.Head != nil || last.Unsaved == "" {
			t.Errorf("the head is %v: %q", last.Head, last.Unsaved)
		}
		if h, err := c.nodes["n1"].Heads(t.Context(), store.DefaultAccount); err == nil {
			t.Errorf("heads %+v", h)
		}
	}
}

// Each minute there is one more head of each stream that has changed; a head that goes back
// is refused.
func TestHeads(t *testing.T) {
	c := start(t, "n1")
	c.begin()
	numbers := func() (n []uint64) {
		t.Helper()
		if err := c.nodes["n1"].heads(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := c.store.AuditHeads()
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			n = append(n, list[i].Number)
		}
		return n
	}
	c.requests("n1", 1)
	for i, want := range []string{"[1 1]", "[1 1]", "[1 2]"} {
		if i == 2 {
			c.requests("n1", 1)
		}
		if got := fmt.Sprint(numbers()); got != want {
			t.Errorf("round %d: %s, want %s", i, got, want)
		}
	}
	s := &local.Sealed{Stream: "evt_none0000", Seq: 5, Begin: 1}
	if _, err := c.nodes["n1"].sign(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Seq = 4
	if _, err := c.nodes["n1"].sign(t.Context(), s); err == nil || !strings.Contains(err.Error(), "put back to an earlier state") {
		t.Errorf("a stream that went back: %v", err)
	}
}

// A node keeps a bounded number of sessions, and forgets those that are idle or ended.
func TestSessions(t *testing.T) {
	c := start(t, "n1", "n2")
	l := c.nodes["n1"]
	open := func() (*answer, error) {
		return l.answer(t.Context(), &ask{Open: &store.EventQuery{Account: store.DefaultAccount}})
	}
	var ids []string
	for range maxSessions {
		a, err := open()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.Session)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "try again later") {
		t.Errorf("one session more: %v", err)
	}
	if a, err := l.answer(t.Context(), &ask{Next: ids[0]}); err != nil || a.Phase != "end" {
		t.Errorf("an empty log: %+v, %v", a, err)
	}
	for range 2 {
		if _, err := l.answer(t.Context(), &ask{Close: ids[0]}); err != nil {
			t.Error(err)
		}
	}
	for _, in := range []*ask{{Next: ids[0]}, {Next: "none"}, {}} {
		if a, err := l.answer(t.Context(), in); err == nil {
			t.Errorf("%+v: %+v", in, a)
		}
	}
	if _, err := l.Serve(t.Context(), []byte("{")); err == nil {
		t.Error("a call that cannot be read was answered")
	}
	if _, err := open(); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
	l.Close()
	if _, err := open(); err == nil {
		t.Error("a session was opened after Close")
	}
}

// An idle session ends by itself.
func TestIdleSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sessions{of: map[string]*session{}}
		one := &session{closed: true} // has nothing to end
		id, err := s.add(one)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleSession - time.Second)
		synctest.Wait()
		if s.find(id) == nil {
			t.Error("it ended early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s.find(id) != nil {
			t.Error("it did not end")
		}
	})
}

// A node sends no more events at a time than the page takes, and all in the end.
func TestPartsOfAPage(t *testing.T) {
	c := start(t, "n1", "n2")
	c.requests("n1", 10)
	for _, want := range []struct{ page, first int }{{3, 3}, {0, 10}, {100, 10}} {
		l := c.nodes["n1"]
		a, err := l.answer(t.Context(), &ask{Open: &store.EventQuery{Account: store.DefaultAccount, Page: want.page}})
		if err != nil {
			t.Fatal(err)
		}
		first, all := 0, 0
		for {
			part, err := l.answer(t.Context(), &ask{Next: a.Session})
			if err != nil {
				t.Fatal(err)
			}
			if part.Phase != "events" {
				break
			}
			if all += len(part.Events); first == 0 {
				first = all
			}
		}
		if first != want.first || all != 10 {
			t.Errorf("for a page of %d the first part has %d events, and all %d", want.page, first, all)
		}
	}
}
