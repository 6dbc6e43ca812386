package manage

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// Security serves the calls about what is unusual or untidy.
type Security struct {
	Keys     *Keys
	Observed Observed
}

// maxAnomalies bounds the findings of an answer.
const maxAnomalies = 1000

// openFor is how long a finding about a key is open.
const openFor = 7 * 24 * time.Hour

// anomaly is a finding as the API shows it.
type anomaly struct {
	ID      string       `json:"id"`
	Kind    insight.Kind `json:"kind"`
	Time    time.Time    `json:"time"`
	Key     *store.KeyID `json:"key_id"`
	Subject *string      `json:"subject"`
	Usual   string       `json:"usual"`
	Seen    string       `json:"seen"`
	Window  int64        `json:"window_seconds"`
}

func anomalies(list []insight.Finding) []anomaly {
	out := make([]anomaly, 0, len(list))
	for i := range list {
		f := &list[i]
		out = append(out, anomaly{
			ID: f.ID, Kind: f.Kind, Time: f.At.UTC(), Key: some(store.KeyID(f.Key)), Subject: some(f.Subject), Usual: f.Usual, Seen: f.Seen, Window: f.Window,
		})
	}
	return out
}

type keyCount struct {
	Key      string `json:"key_id"`
	Requests int64  `json:"requests"`
}

type hintCount struct {
	Hint     string `json:"hint"`
	Requests int64  `json:"requests"`
}

// failedAuth are failed authentications by several dimensions.
type failedAuth struct {
	Requests  int64          `json:"requests"`
	Reasons   []reasonCount  `json:"reasons"`
	Keys      []keyCount     `json:"keys"`
	Addresses []addressCount `json:"addresses"`
	Countries []countryCount `json:"countries"`
	Hints     []hintCount    `json:"hints"`
}

// securityEvents is the answer of GET /v1/security/events.
type securityEvents struct {
	From      time.Time       `json:"from"`
	To        time.Time       `json:"to"`
	Failed    failedAuth      `json:"failed_authentications"`
	Anomalies []anomaly       `json:"anomalies"`
	Missing   []chain.Missing `json:"missing"`
}

// Events shows failed authentications and what was unusual, over all nodes. Requests
// without an account are the operator's, as in the audit log: the account "default" has them.
func (h *Security) Events(c *rest.Call) (*securityEvents, error) {
	q := c.Query()
	from, to := period(c, q)
	key := store.KeyID(q.Text("key"))
	if q.Err() != nil {
		return nil, q.Err()
	}
	if err := c.Export(); err != nil {
		return nil, err
	}
	ctx, stray := c.Request.Context(), c.Account == store.DefaultAccount
	n, missing, err := h.Observed.Failures(ctx, local.FailureQuery{
		Account: c.Account, Stray: stray && key == "", From: from, To: to, Key: key, Kinds: []local.FailureKind{local.FailedAuth}, Most: maxCounts,
	})
	if err != nil {
		return nil, err
	}
	found, _, err := h.Observed.Findings(ctx, insight.Query{Account: string(c.Account), Stray: stray, From: from, To: to, Key: string(key), Most: maxAnomalies})
	if err != nil {
		return nil, err
	}
	nameMissing(c, missing)
	return &securityEvents{
		From: from, To: to, Missing: missing, Anomalies: anomalies(found),
		Failed: failedAuth{
			Requests: n.Requests, Reasons: reasonCounts(n.Reasons), Addresses: addressCounts(n.Addresses),
			Keys:      convert(n.Keys, func(n local.FailureCount) keyCount { return keyCount{n.Value, n.Requests} }),
			Countries: convert(n.Countries, func(n local.FailureCount) countryCount { return countryCount{some(n.Value), n.Requests} }),
			Hints:     convert(n.Hints, func(n local.FailureCount) hintCount { return hintCount{n.Value, n.Requests} }),
		},
	}, nil
}
