package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// fake is a cluster in memory: one log, and nodes that take it over with a
// delay. It answers the few calls that this package makes, rightly unless a
// fault is planted in it.
type fake struct {
	target
	plant  planted
	mu     sync.Mutex
	rng    *rand.Rand
	log    []fakeWrite
	keys   map[string]*fakeKey // the log's newest state, by id
	nodes  []*fakeNode
	past   *fakeNode // the state that stale reads show
	leader int
	writes int
	lost   int // writes that were lost and had changed something
}

// planted are the faults of a fake, and deviations that are allowed.
type planted struct {
	staleCache  time.Duration // a node's look-up is good for so long
	zombie      time.Duration // a revoked key lives on on the last node for so long
	lose        int           // every so many acknowledged writes is lost
	early       time.Duration // a write that gives answers so long before the others have it
	staleRead   time.Duration // reads are of so long ago
	doubtful    int           // every so many writes answers unknown_outcome; that is allowed
	dropsOnStop bool          // a node that stops drops its requests in flight
}

type fakeKey struct{ id, secret, state string }

type fakeWrite struct{ id, secret, state string }

// fakeNode is one node's view.
type fakeNode struct {
	mu       sync.Mutex
	byID     map[string]fakeKey
	bySecret map[string]string
	cache    map[string]cached
	applied  int
	ready    atomic.Bool
	probes   atomic.Int64 // of /readyz
	server   *httptest.Server
}

type cached struct {
	state string
	until time.Time
}

func newFake(t testing.TB, n int, seed uint64, plant planted) *fake {
	f := &fake{plant: plant, rng: rand.New(rand.NewPCG(seed, 99)), keys: map[string]*fakeKey{}}
	f.operator = "op_fake"
	view := func() *fakeNode {
		return &fakeNode{byID: map[string]fakeKey{}, bySecret: map[string]string{}, cache: map[string]cached{}}
	}
	f.past = view()
	for i := range n {
		node := view()
		node.ready.Store(true)
		node.server = httptest.NewServer(f.handler(i, node))
		t.Cleanup(node.server.Close)
		f.nodes = append(f.nodes, node)
		f.target.nodes = append(f.target.nodes, endpoint{fmt.Sprint("n", i+1), node.server.URL, node.server.URL})
	}
	return f
}

// losses is the number of lost writes that a client could miss.
func (f *fake) losses() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

func (f *fake) draw(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(n)
}

func (f *fake) handler(i int, node *fakeNode) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		defer node.probes.Add(1)
		if !node.ready.Load() {
			refuse(w, 503, "unavailable")
		}
	})
	mux.HandleFunc("GET /v1/cluster", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		answer(w, 200, map[string]any{"leader": f.target.nodes[f.leader].name, "term": 1})
	})
	mux.HandleFunc("POST /v1/cluster/transfer-leadership", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.leader = (f.leader + 1) % len(f.nodes)
	})
	mux.HandleFunc("POST /v1/keys", func(w http.ResponseWriter, r *http.Request) {
		f.write(w, i, "", opCreate)
	})
	mux.HandleFunc("GET /v1/keys/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.read(w, r.PathValue("id"))
	})
	mux.HandleFunc("PATCH /v1/keys/{id}", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ State string }
		json.NewDecoder(r.Body).Decode(&body)
		f.write(w, i, r.PathValue("id"), map[string]string{stActive: opEnable, stDisabled: opDisable}[body.State])
	})
	mux.HandleFunc("POST /v1/keys/{id}/rotate", func(w http.ResponseWriter, r *http.Request) {
		f.write(w, i, r.PathValue("id"), opRotate)
	})
	mux.HandleFunc("POST /v1/keys/{id}/revoke", func(w http.ResponseWriter, r *http.Request) {
		f.write(w, i, r.PathValue("id"), opRevoke)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { f.use(w, r, i, node) })
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, code string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": code}})
}

// write appends to the log, lets the nodes take it over, and answers.
func (f *fake) write(w http.ResponseWriter, via int, id, kind string) {
	f.mu.Lock()
	old := f.keys[id]
	if code := forbidden(kind, old); code != "" {
		f.mu.Unlock()
		refuse(w, map[string]int{"not_found": 404, "conflict": 409}[code], code)
		return
	}
	shown := f.change(old, kind)
	length, doubtful := len(f.log), f.plant.doubtful > 0 && f.rng.IntN(f.plant.doubtful) == 0
	f.mu.Unlock()

	wait := f.spread(via, length, kind != opEnable && kind != opCreate)
	if doubtful {
		refuse(w, 503, "unknown_outcome")
		return
	}
	wait()
	out := map[string]any{"id": shown.id, "state": shown.state, "revocation": map[string]any{"effective": true}}
	if kind == opCreate || kind == opRotate {
		out["key"] = shown.secret
	}
	answer(w, 200, out)
}

// forbidden is the code with which a write is refused, "" if it is not.
func forbidden(kind string, old *fakeKey) string {
	switch {
	case kind == opCreate:
	case old == nil:
		return "not_found"
	case old.state == stRevoked && kind != opRevoke:
		return "conflict"
	}
	return ""
}

// change writes to the log, with the lock held, and returns the key of the answer.
func (f *fake) change(old *fakeKey, kind string) (shown fakeKey) {
	var entries []fakeWrite
	set := func(k *fakeKey, state string) fakeKey {
		k.state = state
		f.keys[k.id] = k
		entries = append(entries, fakeWrite{k.id, k.secret, state})
		return *k
	}
	fresh := func(state string) fakeKey {
		n := fmt.Sprintf("%d-%x", len(f.keys), f.rng.Uint64())
		return set(&fakeKey{id: "key_" + n, secret: "pk_live_" + n}, state)
	}
	before := fakeKey{}
	if old != nil {
		before = *old
	}
	switch kind {
	case opCreate:
		shown = fresh(stActive)
	case opRotate:
		set(old, stRevoked)
		shown = fresh(before.state)
	default:
		shown = set(old, map[string]string{opEnable: stActive, opDisable: stDisabled, opRevoke: stRevoked}[kind])
	}
	f.writes++
	if f.plant.lose > 0 && f.writes%f.plant.lose == 0 { // as if a leader that has gone had acknowledged it
		if old == nil || *old != before {
			f.lost++
		}
		if old != nil {
			*old = before
		} else {
			delete(f.keys, shown.id)
		}
		return shown
	}
	f.log = append(f.log, entries...)
	return shown
}

// spread has every node take over the log up to length after a while; the returned
// function waits for those that a write waits for.
func (f *fake) spread(via, length int, taking bool) (wait func()) {
	if f.plant.staleRead > 0 {
		time.AfterFunc(f.plant.staleRead, func() { f.apply(f.past, length) })
	}
	var all sync.WaitGroup
	for j, node := range f.nodes {
		delay := time.Duration(f.draw(3000)) * time.Microsecond
		if f.plant.early > 0 && !taking && j != via {
			time.AfterFunc(f.plant.early, func() { f.apply(node, length) })
			continue
		}
		if f.plant.zombie > 0 && taking && j == len(f.nodes)-1 {
			time.AfterFunc(f.plant.zombie, func() { f.apply(node, length) })
			continue
		}
		all.Go(func() {
			harness.Pause(nil, delay)
			f.apply(node, length)
		})
	}
	return all.Wait
}

// apply lets node take over the log up to length.
func (f *fake) apply(node *fakeNode, length int) {
	f.mu.Lock()
	log := f.log
	f.mu.Unlock()
	node.mu.Lock()
	defer node.mu.Unlock()
	for ; node.applied < length; node.applied++ {
		e := log[node.applied]
		node.byID[e.id] = fakeKey(e)
		node.bySecret[e.secret] = e.id
	}
}

func (f *fake) read(w http.ResponseWriter, id string) {
	f.mu.Lock()
	k := f.keys[id]
	var seen fakeKey
	if k != nil {
		seen = *k
	}
	f.mu.Unlock()
	if f.plant.staleRead > 0 && k != nil {
		f.past.mu.Lock()
		if then, known := f.past.byID[id]; known {
			seen = then
		}
		f.past.mu.Unlock()
	}
	if k == nil {
		refuse(w, 404, "not_found")
		return
	}
	answer(w, 200, map[string]any{"id": seen.id, "state": seen.state})
}

func (f *fake) use(w http.ResponseWriter, r *http.Request, i int, node *fakeNode) {
	if !node.ready.Load() && f.plant.dropsOnStop {
		panic(http.ErrAbortHandler)
	}
	key := r.Header.Get("Authorization")[len("Bearer "):]
	node.mu.Lock()
	state := stAbsent
	if id, known := node.bySecret[key]; known {
		state = node.byID[id].state
	}
	if f.plant.staleCache > 0 {
		if c := node.cache[key]; time.Now().Before(c.until) {
			state = c.state
		} else {
			node.cache[key] = cached{state, time.Now().Add(f.plant.staleCache)}
		}
	}
	node.mu.Unlock()
	switch state {
	case stActive:
		answer(w, 200, map[string]any{"node": i})
	case stDisabled:
		refuse(w, 401, "key_disabled")
	case stRevoked:
		refuse(w, 401, "key_revoked")
	default:
		refuse(w, 401, "invalid_key")
	}
}
