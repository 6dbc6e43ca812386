package manage_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

func TestClusterRead(t *testing.T) {
	g := apitest.New(t)
	before := len(g.Events("?action=cluster.read"))
	a := g.Op("GET", "/v1/cluster", "").Want(t, 200)
	if a.Text("leader") != "n1" || !strings.Contains(a.Body, `"lease_ms":null`) || !strings.Contains(a.Body, `"reasons":[]`) {
		t.Errorf("%s", a.Body)
	}
	// It is answered without a leader too, and is no event.
	g.Backend.Stale = fault.New(fault.NoLeader)
	g.Op("GET", "/v1/cluster", "").Want(t, 200)
	g.Op("GET", "/v1/cluster?x=1", "").Want(t, 422, fault.UnknownField)
	g.Backend.Stale = nil
	if n := len(g.Events("?action=cluster.read&outcome=success")); n != before {
		t.Errorf("%d reads are events", n-before)
	}
}

func TestTransferLeadership(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct {
		body string
		to   string
	}{{"", ""}, {"{}", ""}, {`{"to":null}`, ""}, {`{"to":"n2"}`, "n2"}} {
		g.Backend.Leader = "unset"
		g.Op("POST", "/v1/cluster/transfer-leadership", c.body).Want(t, 200)
		if g.Backend.Leader != c.to {
			t.Errorf("%s: transferred to %q", c.body, g.Backend.Leader)
		}
	}
	for call, forced := range map[[2]string]bool{
		{"?force=true", ""}: true, {"", `{"force":true}`}: true, {"?force=false", `{"to":"n2","force":true}`}: true, {"?force=false", "{}"}: false,
	} {
		if g.Op("POST", "/v1/cluster/transfer-leadership"+call[0], call[1]).Want(t, 200); g.Backend.Forced != forced {
			t.Errorf("%q: forced %v", call, g.Backend.Forced)
		}
	}
	g.Op("POST", "/v1/cluster/transfer-leadership?force=yes", "").Want(t, 422, fault.InvalidValue)
	for _, body := range []string{`{"to":""}`, `{"to":5}`, `{"node":"n2"}`} {
		g.Op("POST", "/v1/cluster/transfer-leadership", body).Want(t, 422)
	}
	g.Backend.Fail = &fault.Error{Code: fault.Conflict, Message: "n2 does not answer."}
	if a := g.Op("POST", "/v1/cluster/transfer-leadership", "").Want(t, 409, fault.Conflict); a.Message() != "n2 does not answer." {
		t.Errorf("%s", a.Body)
	}
}

func TestRemoveNode(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("DELETE", "/v1/cluster/nodes/n2", "").Want(t, 200)
	if a.Text("id") != "n2" || a.JSON["deleted"] != true || !strings.Contains(a.Body, `"nodes":[]`) {
		t.Errorf("%s", a.Body)
	}
	g.Op("DELETE", "/v1/cluster/nodes/n3", "").Want(t, 404, fault.NotFound)
	g.Op("DELETE", "/v1/cluster/nodes/n2?x=true", "").Want(t, 422, fault.UnknownField)
	g.Op("DELETE", "/v1/cluster/nodes/n2?force=1", "").Want(t, 422, fault.InvalidValue)
	for query, forced := range map[string]bool{"": false, "?force=false": false, "?force=true": true} {
		if g.Op("DELETE", "/v1/cluster/nodes/n2"+query, "").Want(t, 200); g.Backend.Forced != forced {
			t.Errorf("%q: forced %v", query, g.Backend.Forced)
		}
	}
	g.Backend.Partial = true
	g.Op("DELETE", "/v1/cluster/nodes/n2", "").Want(t, 202)
	// The change carries its event; only the refused calls are events of their own.
	events := g.Events("?action=cluster.remove")
	for _, e := range events {
		if e.Outcome != "denied" {
			t.Errorf("a removal is an event twice: %+v", e)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events of refused removals, want 3", len(events))
	}
}

// A handler needs no more of the node than the interface of its topic.
func TestClusterAlone(t *testing.T) {
	var node manage.Node = fakeNode{}
	frame := apitest.New(t).Frame()
	h := &manage.Cluster{Node: node}
	w := call(frame, rest.WithoutBody(h.Read), "GET", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"cluster_id":"fake"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type fakeNode struct{ manage.Node }

func (fakeNode) Cluster(context.Context) manage.ClusterStatus {
	return manage.ClusterStatus{ClusterID: "fake"}
}

var _ rest.Backend = (*apitest.Backend)(nil)

// reported is a node in a cluster that has every kind of member.
type reported struct{ manage.Node }

func (reported) Cluster(context.Context) manage.ClusterStatus {
	return manage.ClusterStatus{
		ClusterID: "c", Leader: "n1", Term: 3, Healthy: false, FailureTolerance: 1, Reasons: []string{"n2 is unreachable"},
		Nodes: []manage.NodeStatus{
			{Name: "n1", Role: "leader", State: "ready", AppliedIndex: 9, LeaseMS: new(int64(0)), Version: "1.2.3", Region: "eu"},
			{Name: "n2", Role: "voter", State: "unreachable", LastContactMS: -1},
		},
	}
}

// The status keeps its names, its order and its nulls: scripts read it.
func TestClusterStatusJSON(t *testing.T) {
	h := &manage.Cluster{Node: reported{}}
	w := call(apitest.New(t).Frame(), rest.WithoutBody(h.Read), "GET", "")
	want := `{"cluster_id":"c","leader":"n1","term":3,"nodes":[` +
		`{"name":"n1","role":"leader","state":"ready","applied_index":9,"lease_ms":0,"version":"1.2.3","region":"eu","last_contact_ms":0},` +
		`{"name":"n2","role":"voter","state":"unreachable","applied_index":0,"lease_ms":null,"version":"","region":"","last_contact_ms":-1}],` +
		`"healthy":false,"failure_tolerance":1,"reasons":["n2 is unreachable"]}` + "\n"
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
}

// A query is refused before anything is changed, and an error that is no fault keeps
// its cause to itself.
func TestClusterChangeRefuses(t *testing.T) {
	n := &failing{}
	g := apitest.New(t)
	h := &manage.Cluster{Node: n}
	frame := g.Frame()
	call(frame, rest.WithOptionalBody(h.TransferLeadership), "POST", "")
	if n.to != "" || n.calls != 1 {
		t.Errorf("%d transfers, to %q", n.calls, n.to)
	}
	n.fail = errors.New("a cause that is not for callers")
	for _, serve := range []rest.Handler{rest.WithOptionalBody(h.TransferLeadership), rest.WithoutBody(h.RemoveNode)} {
		if w := call(frame, serve, "POST", ""); w.Code != 500 || strings.Contains(w.Body.String(), "a cause") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// failing counts transfers, and fails changes of the cluster.
type failing struct {
	manage.Node
	to    string
	calls int
	fail  error
}

func (*failing) Cluster(context.Context) manage.ClusterStatus { return manage.ClusterStatus{} }

func (n *failing) TransferLeadership(_ context.Context, to string, _ bool, _ store.Actor) error {
	n.to = to
	n.calls++
	return n.fail
}

func (n *failing) RemoveNode(context.Context, string, bool, store.Actor) (rest.Revocation, error) {
	return rest.Revocation{}, n.fail
}
