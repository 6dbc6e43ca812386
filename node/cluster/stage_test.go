package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/logtest"
)

// stage is a cluster of one real node, n1, that leads and that a test drives by hand:
// the goroutines of Start do not run unless the test begins them. Puppets play the
// other nodes.
type stage struct {
	*Cluster
	t    *testing.T
	log  logtest.Log
	ends atomic.Bool // the test has the node end
}

// byHand keeps the goroutines of the coordinator from running.
type byHand struct{ *Cluster }

// calm are timeouts that no loaded machine exceeds; the first election is not waited for.
var calm = replica.Timeouts{Election: 10 * time.Second, Leader: 10 * time.Second}

// Enter implements [replica.Lifecycle].
func (h byHand) Enter(ctx context.Context) (replica.Entry, error) {
	e, err := h.Cluster.Enter(ctx)
	e.Timeouts = calm
	return e, err
}

// Start implements [replica.Lifecycle]: it does as the coordinator does, without goroutines.
func (h byHand) Start(ctx context.Context, tasks *sync.WaitGroup) error {
	h.leadership.notices = newNotices(ctx, h.node, h.peers, h.leadership)
	h.peers.ctx = ctx
	h.mesh.Handle(h.server.handler())
	h.answerAsMember()
	tasks.Go(func() { <-ctx.Done(); h.leadership.notices.tasks.Wait() })
	h.leadership.carrier.Deliver(ctx, &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}})
	return nil
}

const (
	stageSecret = "a secret of the stage, 32 bytes."
	stageLease  = 300 * time.Millisecond
)

// newStage begins a cluster. adjust may change the configuration.
func newStage(t *testing.T, adjust func(*Config)) *stage {
	t.Helper()
	s := emptyStage(t, adjust)
	replicatest.Begin(t, s.r)
	return s
}

// opened begins a cluster that other nodes may join.
func opened(t *testing.T, adjust func(*Config)) *stage {
	t.Helper()
	s := newStage(t, adjust)
	s.open()
	return s
}

// open takes the first steps of the reconciler: authority, certificate and n1's own record.
func (s *stage) open() {
	s.t.Helper()
	if err := s.reconciler.openTrust(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.certs.certify(s.Clock.Wall()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.membership.putMember(s.t.Context(), s.holder.selfReport(s.Clock.Wall())); err != nil {
		s.t.Fatal(err)
	}
}

// until asks until ok returns true.
func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited 30 s for %s\n%s", what, s.log.String())
		}
	}
}

// begin runs f until the test ends.
func (s *stage) begin(f func(ctx context.Context)) {
	var task sync.WaitGroup
	task.Go(func() { f(s.t.Context()) })
	s.t.Cleanup(task.Wait)
}

// server is the node's entry in Raft's configuration; its id is empty if there is none.
func (s *stage) server(id string) raft.Server {
	for _, v := range s.servers() {
		if string(v.ID) == id {
			return v
		}
	}
	return raft.Server{}
}

// puppet plays another node: a real cluster port, of which a test decides the answers.
type puppet struct {
	s        *stage
	id, name string
	mesh     *mesh.Mesh
	trans    *raft.NetworkTransport
	deaf     atomic.Bool   // its Raft takes nothing
	denies   atomic.Bool   // it knows that n1 was removed
	timeouts chan struct{} // gets a token for each request to stand for election
	running  sync.RWMutex  // a test that locks it pauses the process: connections stay, and nothing is answered

	mu    sync.Mutex
	calls map[string]func(body []byte) any // by path; the value or error that is answered
	heard map[string]int                   // calls by path
	last  map[string]string                // the query and body of the last one, by path
}

// puppet starts another node. It has no certificate before it joins.
func (s *stage) puppet(name string) *puppet {
	s.t.Helper()
	p := &puppet{
		s: s, id: "id" + name, name: name, timeouts: make(chan struct{}, 16),
		calls: map[string]func([]byte) any{}, heard: map[string]int{}, last: map[string]string{},
	}
	var err error
	p.mesh, err = mesh.Open(context.Background(), mesh.Config{
		Listen: "127.0.0.1:0", NodeID: p.id, Secret: []byte(stageSecret), Logger: s.Logger, Calls: http.HandlerFunc(p.serve),
		Denied: func(string) bool { return p.denies.Load() },
		Join: func(_ context.Context, kind string, body []byte, _ string) (any, error) {
			v := p.value(kind, "", body)
			err, _ := v.(error)
			return v, err
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	p.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: p.mesh.RaftLayer(func(string) string { return "" }), MaxPool: 3, Timeout: 10 * time.Second, Logger: replica.NewRaftLogger(s.Logger),
	})
	stop := make(chan struct{})
	go p.follow(stop)
	s.t.Cleanup(func() {
		close(stop)
		p.trans.Close()
		p.mesh.Close()
	})
	return p
}

// report is the puppet's report of itself.
func (p *puppet) report() selfReport {
	return selfReport{
		ID: p.id, Boot: 1, Term: p.s.leadership.term.Load(), Name: p.name, Region: p.s.Region, Address: p.mesh.Advertise(), Version: "test", Level: store.Level,
		State: replica.StateReady, Lease: int64(p.s.Lease), Wall: p.s.Clock.Wall(), Applied: p.s.r.Store().Applied(),
	}
}

// ask sends a join request to n1. Like a real node, it asks again if no answer came: a
// loaded machine can take longer over a handshake than the product waits.
func (p *puppet) ask(kind string, body any) (answer []byte, err error) {
	p.s.t.Helper()
	p.s.until("an answer to a join request", func() bool {
		answer, err = p.mesh.Ask(p.s.t.Context(), p.s.mesh.Advertise(), kind, body)
		return !errors.Is(err, mesh.ErrUnreachable)
	})
	return answer, err
}

// request asks for membership, and returns the answer with the key that it is for.
func (p *puppet) request(report selfReport) (out joinAnswer, key []byte, err error) {
	p.s.t.Helper()
	if key, err = mesh.NewNodeKey(); err != nil {
		p.s.t.Fatal(err)
	}
	csr, err := mesh.NewRequest(key, p.id)
	if err != nil {
		p.s.t.Fatal(err)
	}
	raw, err := p.ask(askJoin, joinRequest{selfReport: report, CSR: csr})
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, key, err
}

// joined starts a node that becomes a member, without a vote.
func (s *stage) joined(name string) *puppet {
	s.t.Helper()
	p := s.puppet(name)
	out, key, err := p.request(p.report())
	if err != nil {
		s.t.Fatal(err)
	}
	creds := &mesh.Credentials{ClusterID: out.ClusterID, CAs: [][]byte{out.CA}, Cert: out.Cert, Key: key}
	if err := p.mesh.SetCredentials(creds); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// voter starts a node that becomes a voter.
func (s *stage) voter(name string) *puppet {
	s.t.Helper()
	p := s.joined(name)
	if err := s.leadership.promote(s.t.Context(), raft.ServerID(p.id), raft.ServerAddress(p.mesh.Advertise())); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// hears puts a fresh report of the puppet before the leader; change may be nil.
func (p *puppet) hears(change func(*selfReport)) {
	f := p.report()
	if change != nil {
		change(&f)
	}
	p.s.leadership.reports.put(&f, p.s.Clock.Now())
}

// answers sets the answer to calls of a path, or to join requests of a kind.
func (p *puppet) answers(path string, f func(body []byte) any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[path] = f
}

// count is how many calls of a path have come.
func (p *puppet) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[path]
}

// lastOf is the last call of a path: its query and body.
func (p *puppet) lastOf(path string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[path]
}

func (p *puppet) value(path, query string, body []byte) any {
	p.mu.Lock()
	f := p.calls[path]
	p.heard[path]++
	p.last[path] = query + " " + string(body)
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(body)
}

// rawAnswer is an answer without the form of a call's.
type rawAnswer struct {
	code int
	body string
}

func (p *puppet) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.running.RLock()
	defer p.running.RUnlock()
	switch v := p.value(r.URL.Path, r.URL.RawQuery, body).(type) {
	case nil:
		http.NotFound(w, r)
	case rawAnswer:
		w.WriteHeader(v.code)
		io.WriteString(w, v.body)
	case error:
		respond(w, struct{}{}, v)
	default:
		respond(w, v, nil)
	}
}

// follow answers Raft as a follower that has everything it was ever sent.
func (p *puppet) follow(stop chan struct{}) {
	for {
		select {
		case rpc := <-p.trans.Consumer():
			p.running.RLock() // waits for the end of a pause
			p.running.RUnlock()
			if p.deaf.Load() {
				rpc.Respond(nil, raft.ErrEnqueueTimeout)
				continue
			}
			switch c := rpc.Command.(type) {
			case *raft.AppendEntriesRequest:
				last := c.PrevLogEntry + uint64(len(c.Entries))
				rpc.Respond(&raft.AppendEntriesResponse{Term: c.Term, LastLog: last, Success: true}, nil)
			case *raft.TimeoutNowRequest:
				rpc.Respond(&raft.TimeoutNowResponse{}, nil)
				p.timeouts <- struct{}{}
			default:
				rpc.Respond(nil, raft.ErrRaftShutdown)
			}
		case <-stop:
			return
		}
	}
}

// takesOver makes the puppet lead once it is asked to. The function that it returns waits
// for that: the test must not end before.
func (p *puppet) takesOver() (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-p.timeouts
		p.leads()
	}()
	return func() { <-done }
}

// leads makes the puppet the leader of a newer term: n1 follows it until the test ends.
func (p *puppet) leads() {
	p.s.t.Helper()
	req := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(p.id), Addr: []byte(p.mesh.Advertise())},
		Term:      p.s.currentTerm() + 1,
	}
	ctx := p.s.t.Context()
	p.s.leadership.carrier.Deliver(ctx, req)
	p.s.until(p.name+" to be followed", func() bool {
		id, _, ok := p.s.peers.leader()
		return ok && string(id) == p.id && !p.s.r.Leads()
	})
	tick := time.NewTicker(time.Second)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				again := *req
				p.s.leadership.carrier.Deliver(ctx, &again)
			case <-ctx.Done():
				return
			}
		}
	}()
}

// has fails unless err's text contains want; "" is no error.
func has(t *testing.T, what string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, must contain %q", what, err, want)
	}
}
