package cluster

import (
	"errors"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// The answers to calls as versions since the first with a cluster write them, byte
// for byte: nodes of several versions work together during an upgrade.
func TestAnswersOnTheWire(t *testing.T) {
	lease := int64(4900)
	for _, c := range []struct {
		name   string
		answer func(*httptest.ResponseRecorder)
		want   string
	}{
		{
			"a receipt",
			func(w *httptest.ResponseRecorder) {
				respond(w, receiptToWire(replica.Receipt{
					Result:     store.Result{Index: 7, Repeat: true, Matched: 2},
					Revocation: replica.Revocation{Index: 7, Effective: true, TookMS: 3, Nodes: []replica.Ack{{Name: "n1", How: "applied"}, {Name: "n2", How: "lease_ended"}}},
				}), nil)
			},
			`{"value":{"result":{"index":7,"matched":2},"repeat":true,"revocation":{"index":7,"effective":true,"took_ms":3,"nodes":[{"name":"n1","how":"applied"},{"name":"n2","how":"lease_ended"}]}}}`,
		},
		{
			"a status",
			func(w *httptest.ResponseRecorder) {
				respond(w, statusToWire(replica.Status{
					ClusterID: "cl_1", Leader: "n1", Term: 2, Healthy: false, Reasons: []string{"r"},
					Nodes: []replica.NodeStatus{
						{Name: "n1", Role: "leader", State: "ready", AppliedIndex: 9, LeaseMS: &lease, Version: "v", Region: "eu"},
						{Name: "n2", Role: "voter", State: "unreachable", LastContactMS: -1},
					},
				}), nil)
			},
			`{"value":{"cluster_id":"cl_1","leader":"n1","term":2,"nodes":[` +
				`{"name":"n1","role":"leader","state":"ready","applied_index":9,"lease_ms":4900,"version":"v","region":"eu","last_contact_ms":0},` +
				`{"name":"n2","role":"voter","state":"unreachable","applied_index":0,"lease_ms":null,"version":"","region":"","last_contact_ms":-1}],` +
				`"healthy":false,"reasons":["r"]}}`,
		},
		{
			"nothing is held",
			func(w *httptest.ResponseRecorder) { respond(w, uint64(0), replica.ErrNotTaken) },
			`{"fault":{"code":"internal_error","retry":true}}`,
		},
		{
			"a refusal",
			func(w *httptest.ResponseRecorder) {
				respond(w, false, replica.Refuse(replica.ErrBusy, errors.New("secret")))
			},
			`{"fault":{"code":"too_busy","retry_after":1}}`,
		},
		{
			"a sentence",
			func(w *httptest.ResponseRecorder) {
				respond(w, revocationToWire(replica.Revocation{}), replica.Decline(replica.ErrNotFound, "There is no node %q.", "x"))
			},
			`{"fault":{"code":"not_found","message":"There is no node \"x\"."}}`,
		},
	} {
		w := httptest.NewRecorder()
		c.answer(w)
		if got := w.Body.String(); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Every field survives writing and reading.
func TestWireStructsAreComplete(t *testing.T) {
	through := func(in, out any) {
		t.Helper()
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, out); err != nil {
			t.Fatal(err)
		}
	}
	var s replica.Status
	replicatest.Fill(&s)
	var ws wireStatus
	through(statusToWire(s), &ws)
	if got := ws.status(); !reflect.DeepEqual(got, s) {
		t.Errorf("status: got %+v, must be %+v", got, s)
	}
	r := replica.Receipt{Result: store.Result{Index: 3, Repeat: true}}
	replicatest.Fill(&r.Revocation)
	var wr wireReceipt
	through(receiptToWire(r), &wr)
	if got := wr.receipt(); !reflect.DeepEqual(got, r) {
		t.Errorf("receipt: got %+v, must be %+v", got, r)
	}
}

// Refusals keep reason, sentence and hint on their way between nodes.
func TestRefusalsOnTheWire(t *testing.T) {
	for _, c := range codes {
		for _, e := range []*replica.Error{replica.Refuse(c.reason, nil), replica.Decline(c.reason, "Because.")} {
			var got *replica.Error
			if !errors.As(toWire(e).err(), &got) || got.Message != e.Message || got.RetryAfter != e.RetryAfter {
				t.Fatalf("%v became %v", e, got)
			}
			if want := c.reason; got.Reason != want && (want != replica.ErrDiskFull || got.Reason != replica.ErrUnavailable) {
				t.Errorf("%v became %v", e, got)
			}
		}
	}
	if err := toWire(replica.ErrNotTaken).err(); err != replica.ErrNotTaken {
		t.Errorf("that nothing is held became %v", err)
	}
	// As if a leader was looked for in vain: the proposal may go elsewhere.
	if err := toWire(replica.Refuse(replica.ErrNoLeader, replica.ErrNotTaken)).err(); err != replica.ErrNotTaken {
		t.Errorf("no leader became %v", err)
	}
	var e *replica.Error
	if err := toWire(errors.New("secret")).err(); errors.As(err, &e) || err.Error() == "secret" {
		t.Errorf("an internal error became %v", err)
	}
	// Of a newer version: the outcome is not known.
	if err := (&wireFault{Code: "new_code"}).err(); !errors.As(err, &e) || e.Reason != replica.ErrUnknownOutcome || e.RetryAfter != 1 {
		t.Errorf("an unknown code became %v", err)
	}
}
