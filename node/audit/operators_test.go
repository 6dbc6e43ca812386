package audit

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/chaintest"
	"github.com/perfgate/perfgate/store/local"
)

// exported reads a log and verifies it with its proof and kept heads.
func (c *cluster) exported(node string, q store.EventQuery, kept ...chain.HeadFile) (actions []string, r *chain.Report) {
	c.Helper()
	reading, err := c.nodes[node].Read(c.Context(), q, true)
	if err != nil {
		c.Fatal(err)
	}
	defer reading.Close()
	var list []*store.Event
	for _, s := range reading.Streams() {
		for e, err := range s {
			if err != nil {
				c.Fatal(err)
			}
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *store.Event) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	v := chain.NewVerifier()
	for _, e := range list {
		actions = append(actions, fmt.Sprintf("%s of %q", e.Action, e.Account))
		v.Add(chaintest.RecordOf(e), e.Hash)
	}
	p := chain.Proof{Version: chain.Version, Order: "asc", Keys: reading.Keys(), Missing: reading.Missing()}
	for part, err := range reading.Proof() {
		switch {
		case err != nil:
			c.Fatal(err)
		case part.Chain != nil:
			p.Chains = append(p.Chains, *part.Chain)
		default:
			last := &p.Chains[len(p.Chains)-1]
			last.Segments = append(last.Segments, *part.Shown)
		}
	}
	return actions, v.Verify(&p, chain.Trust{Kept: kept})
}

// Neither the log of the operators nor the first key is begun before the state of a new
// cluster is there: the leader's first command has to be the one that makes it.
func TestNothingBeforeTheState(t *testing.T) {
	c := unfounded(t, "n1")
	before := c.index
	c.nodes["n1"].separate(t.Context())
	c.nodes["n1"].begin(t.Context())
	if c.index != before {
		t.Fatalf("%d commands were proposed to a cluster without a state", c.index-before)
	}
	c.found()
	c.nodes["n1"].begin(t.Context())
	c.nodes["n1"].separate(t.Context())
	if len(c.store.AuditKeys()) != 1 || !c.store.HasOperatorsLog() {
		t.Errorf("with a state: %d keys, a log of the operators: %v", len(c.store.AuditKeys()), c.store.HasOperatorsLog())
	}
}

// The log of the operators holds the changes and calls of no account over all nodes, apart
// from that of the account "default" and together with it; both are proven, and kept heads of
// both are found again.
func TestOperatorsLog(t *testing.T) {
	c := start(t, "n1", "n2")
	c.begin()
	c.nodes["n1"].separate(t.Context())
	c.nodes["n1"].separate(t.Context()) // there is one already
	c.requests("n1", 2)
	for _, node := range []string{"n1", "n2"} {
		c.local[node].Observe(&local.Observation{At: time.Now(), Method: http.MethodGet, Status: 401, Code: "invalid_key"})
		c.local[node].Observe(&local.Observation{At: time.Now(), Method: http.MethodGet, Status: 200, Management: true, Action: "cluster.read", Actor: store.Actor{Type: store.ActorOperator, ID: "op_1"}})
	}
	if _, err := c.propose(t.Context(), &store.Command{At: time.Now(), Account: store.DefaultAccount, Change: &store.TierPut{Tier: store.Tier{Name: "gold"}}}); err != nil {
		t.Fatal(err)
	}
	var kept []chain.HeadFile
	for _, account := range []store.AccountID{store.DefaultAccount, store.Operators} {
		h, err := c.nodes["n2"].Heads(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, *h)
	}
	own := []string{`cluster.init of "default"`, `audit_key.create of "default"`, `request of "default"`, `request of "default"`}
	operators := []string{`operators_log.create of ""`, `tier.create of ""`, `request of ""`, `cluster.read of ""`, `request of ""`, `cluster.read of ""`}
	for _, tt := range []struct {
		q    store.EventQuery
		want []string
		kept []chain.HeadFile
	}{
		{store.EventQuery{Account: store.DefaultAccount}, own, kept[:1]},
		{store.EventQuery{Account: store.Operators}, operators, kept[1:]},
		{store.EventQuery{Account: store.DefaultAccount, WithOperators: true}, append(slices.Clone(own), operators...), kept},
		{store.EventQuery{Account: store.Operators, Action: "tier.create"}, []string{`tier.create of ""`}, nil},
	} {
		for _, node := range []string{"n1", "n2"} {
			got, r := c.exported(node, tt.q, tt.kept...)
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%+v at %s: %q, want %q", tt.q, node, got, tt.want)
			}
			if len(r.Findings) > 0 || r.Proven+r.Unchained != len(got) || (r.Compared == 0) != (tt.kept == nil) {
				t.Errorf("%+v at %s: %+v", tt.q, node, r)
			}
		}
	}
}
