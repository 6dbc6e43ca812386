package admit

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// moves keeps the keys that a gate found under the retired pepper.
type moves struct {
	mu   sync.Mutex
	keys map[store.KeyID]store.Hash
}

func (m *moves) Move(_ uint64, key store.Rehash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[key.ID] = key.Hash
}

func (m *moves) take(generation uint64) *store.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &store.KeysRehash{Generation: generation}
	for id, hash := range m.keys {
		c.Keys = append(c.Keys, store.Rehash{ID: id, Hash: hash})
	}
	clear(m.keys)
	return &store.Command{Change: c}
}

// rotating is a harness whose gate moves keys.
func rotating(t *testing.T) (*harness, *moves) {
	h := newHarness(t)
	m := &moves{keys: map[store.KeyID]store.Hash{}}
	c := h.config()
	c.Mover = m
	h.Gate = NewGate(c)
	return h, m
}

// A key is admitted before, during and after it moves to another pepper, also by a request
// that began before; a revoked one stays revoked, and an unknown one costs at most three looks.
func TestPepperRotation(t *testing.T) {
	h, m := rotating(t)
	used, revoked, unused := h.key(nil), h.key(func(k *store.Key) { k.ID = "key_revoked" }), h.key(nil)
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: "key_revoked"}})
	began, f := h.Check(post(used, nil), here, chat, noon)
	if f != nil {
		t.Fatal(f)
	}
	check := func(when, secret string, want fault.Code) {
		t.Helper()
		if _, f := h.Check(post(secret, nil), here, chat, noon); code(f) != want {
			t.Errorf("%s: %v, want %q", when, f, want)
		}
	}
	h.apply(&store.Command{Change: &store.PepperRotate{Pepper: store.Hash{8}}})
	check("retired", used, "")
	check("retired and revoked", revoked, fault.KeyRevoked)
	if len(m.keys) != 2 {
		t.Errorf("%d keys are to be moved, want 2", len(m.keys))
	}
	h.apply(m.take(1))
	check("moved", used, "")
	check("moved and revoked", revoked, fault.KeyRevoked)
	if len(m.keys) != 0 {
		t.Error("a key is to be moved twice")
	}
	if f := h.Still(post(used, nil), &began, chat, noon); f != nil {
		t.Error("a request that began before the rotation:", f)
	}
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: began.Record.ID}})
	if f := h.Still(post(used, nil), &began, chat, noon); code(f) != fault.KeyRevoked {
		t.Error("a request that began before the rotation, whose key is revoked:", f)
	}
	looks := h.looks.Load()
	check("unknown", apikey.New(apikey.LivePrefix), fault.InvalidKey)
	if n := h.looks.Load() - looks; n > 3 {
		t.Errorf("an unknown key cost %d looks", n)
	}
	if rec, err := h.Find(apikey.Sum(unused)); rec == nil || err != nil {
		t.Error("a key that was not used is not found", rec, err)
	}
	h.apply(&store.Command{Change: &store.PepperFinish{Generation: 1}})
	check("not moved in time", unused, fault.InvalidKey)
	looks = h.looks.Load()
	check("unknown, after the rotation", apikey.New(apikey.LivePrefix), fault.InvalidKey)
	if n := h.looks.Load() - looks; n != 1 {
		t.Errorf("an unknown key cost %d looks after the rotation", n)
	}
}

// While rotations follow each other and keys move, no request with a valid key is refused
// and none with a revoked one is admitted.
func TestPepperRotationUnderLoad(t *testing.T) {
	h, m := rotating(t)
	const keys, turns = 8, 25
	var secrets [keys]string
	for i := range secrets {
		secrets[i] = h.key(nil)
	}
	gone := h.key(func(k *store.Key) { k.ID = "key_gone" })
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: "key_gone"}})
	var seen [keys + 1]atomic.Uint64 // the requests with each key that have been answered
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i, secret := range append(secrets[:], gone) {
		clients.Go(func() {
			want := fault.Code("")
			if secret == gone {
				want = fault.KeyRevoked
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if rec, err := h.Find(apikey.Sum(secret)); err != nil || rec == nil {
					t.Errorf("key %d is not found: %v", i, err)
					return
				}
				if _, f := h.Check(post(secret, nil), here, chat, noon); code(f) != want && code(f) != fault.TooManyFailures {
					t.Errorf("key %d: %v", i, f)
					return
				}
				seen[i].Add(1)
			}
		})
	}
	for g := uint64(1); g <= turns && !t.Failed(); g++ {
		h.apply(&store.Command{Change: &store.PepperRotate{Pepper: store.Hash{8, byte(g)}}})
		for left := keys + 1; left > 0 && !t.Failed(); {
			h.apply(m.take(g))
			page, _, err := h.store.Unmoved(g, noon, "", keys+1)
			if err != nil {
				t.Fatal(err)
			}
			if left = len(page); left == 0 {
				if k, err := h.store.Key("key_gone"); err != nil || k.Generation != g {
					left = 1 // the revoked one
				}
			}
		}
		h.apply(&store.Command{Change: &store.PepperFinish{Generation: g, Counted: h.index}})
	}
	close(stop)
	clients.Wait()
	for i := range seen {
		if seen[i].Load() == 0 {
			t.Errorf("key %d made no request", i)
		}
	}
}
