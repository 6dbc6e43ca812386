package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// Insight are the calls about what requests did. See [Client.Insight].
type Insight struct{ client *Client }

// Insight returns the calls about what requests did.
func (c *Client) Insight() Insight { return Insight{c} }

// Usage returns the usage of the account's keys over all nodes, summed by step and group.
func (i Insight) Usage(ctx context.Context, u UsageQuery) (*UsageRows, error) {
	q := url.Values{}
	for name, v := range map[string]string{
		"from": u.From, "to": u.To, "step": u.Step, "key": u.Key,
		"type": u.Type, "environment": u.Environment, "group_by": u.GroupBy,
		"route": u.Route, "method": u.Method, "country": u.Country, "status": u.Status,
	} {
		add(q, name, v)
	}
	return call[UsageRows](ctx, i.client, "GET", "/v1/usage", q, nil, nil)
}

// KeyUsage tells what one key did; from and to are dates or RFC 3339 times, "" is the last
// 30 days.
func (i Insight) KeyUsage(ctx context.Context, id, from, to string) (*KeyUsage, error) {
	return call[KeyUsage](ctx, i.client, "GET", "/v1/usage/keys/"+url.PathEscape(id), times(from, to), nil, nil)
}

// KeyNodes returns which nodes have applied the newest change of a key.
func (i Insight) KeyNodes(ctx context.Context, id string) (*KeyNodes, error) {
	return call[KeyNodes](ctx, i.client, "GET", "/v1/keys/"+url.PathEscape(id)+"/nodes", nil, nil, nil)
}

// KeyLimits returns the policies of up to 100 keys by id. A key whose count could not be read
// in time is absent.
func (i Insight) KeyLimits(ctx context.Context, ids []string) (map[string][]Policy, error) {
	q := url.Values{}
	add(q, "key", strings.Join(ids, ","))
	out, err := call[List[Policy]](ctx, i.client, "GET", "/v1/limits", q, nil, nil)
	if err != nil {
		return nil, err
	}
	byKey := map[string][]Policy{}
	for _, p := range out.Data {
		if p.KeyID == "" && len(ids) == 1 { // one key needs no name
			p.KeyID = ids[0]
		}
		byKey[p.KeyID] = append(byKey[p.KeyID], p)
	}
	return byKey, nil
}

// SecurityEvents returns failed authentications and what was unusual; from and to are dates
// or RFC 3339 times, "" is the last 30 days. key "" is all.
func (i Insight) SecurityEvents(ctx context.Context, from, to, key string) (*SecurityEvents, error) {
	q := times(from, to)
	add(q, "key", key)
	return call[SecurityEvents](ctx, i.client, "GET", "/v1/security/events", q, nil, nil)
}

// Hygiene returns what is untidy about the account's keys.
func (i Insight) Hygiene(ctx context.Context) (*Hygiene, error) {
	return call[Hygiene](ctx, i.client, "GET", "/v1/security/hygiene", nil, nil, nil)
}

func times(from, to string) url.Values {
	q := url.Values{}
	add(q, "from", from)
	add(q, "to", to)
	return q
}

// UsageQuery selects usage. From and To are dates or RFC 3339 times.
type UsageQuery struct {
	From, To, Step, Key, Type, Environment, Route, Method, Country, Status, GroupBy string
}

// UsageRow is the usage of one group in one step.
type UsageRow struct {
	Time     time.Time   `json:"time"`
	Group    *string     `json:"group"`
	Requests int64       `json:"requests"`
	Denied   int64       `json:"denied"`
	Failed   int64       `json:"failed"` // answered with 5xx by the gateway itself
	Units    int64       `json:"units"`
	Cost     json.Number `json:"cost"`
	Billable int64       `json:"billable"`
	// WouldRefuse counts requests that a shadow rule would have refused.
	WouldRefuse int64 `json:"would_refuse"`
}

// Missing is a node that is not in an answer, with the reason.
type Missing struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// UsageRows is the answer to a [UsageQuery].
type UsageRows struct {
	Data    []UsageRow `json:"data"`
	Missing []Missing  `json:"missing"`
}

// KeyUsage is what one key did in a time.
type KeyUsage struct {
	ID        string         `json:"id"`
	From      time.Time      `json:"from"`
	To        time.Time      `json:"to"`
	Requests  int64          `json:"requests"`
	Denied    int64          `json:"denied"`
	Failed    int64          `json:"failed"`
	Units     int64          `json:"units"`
	Cost      json.Number    `json:"cost"`
	Billable  int64          `json:"billable"`
	Failures  []ReasonCount  `json:"failures"`
	Statuses  []StatusCount  `json:"statuses"`
	Countries []CountryCount `json:"countries"`
	Addresses []AddressCount `json:"failing_addresses"`
	LastUse   *LastUse       `json:"last_use"`
	UsedFrom  []UsedFrom     `json:"used_from"` // last, the latest first, up to 8 of each node
	Anomalies []Anomaly      `json:"anomalies"`
	Missing   []Missing      `json:"missing"`
}

// LastUse is when and from where a key was last used.
type LastUse struct {
	At      time.Time `json:"at"`
	IP      *string   `json:"ip"`
	Country *string   `json:"country"`
}

// Overlap tells how a rotation ends, and who still uses the old key.
type Overlap struct {
	UntilUnused bool       `json:"until_unused"`
	EndsUnused  *time.Time `json:"ends_if_unused_at"`
	UsedBy      []UsedFrom `json:"used_by"`
}

// UsedFrom is an address from which a key was used.
type UsedFrom struct {
	IP       string    `json:"ip"`
	Country  *string   `json:"country"`
	Agent    *string   `json:"user_agent"`
	LastUsed time.Time `json:"last_used_at"`
}

// ReasonCount counts the requests that failed with one code.
type ReasonCount struct {
	Reason   string `json:"reason"`
	Requests int64  `json:"requests"`
}

// StatusCount counts the requests with one status.
type StatusCount struct {
	Status   string `json:"status"`
	Requests int64  `json:"requests"`
}

// CountryCount counts the requests from one country; nil is an unknown one.
type CountryCount struct {
	Country  *string `json:"country"`
	Requests int64   `json:"requests"`
}

// AddressCount counts the requests from one address.
type AddressCount struct {
	IP       string  `json:"ip"`
	Country  *string `json:"country"`
	Requests int64   `json:"requests"`
}

// SecurityEvents are failed authentications, and what was unusual.
type SecurityEvents struct {
	From      time.Time  `json:"from"`
	To        time.Time  `json:"to"`
	Failed    FailedAuth `json:"failed_authentications"`
	Anomalies []Anomaly  `json:"anomalies"`
	Missing   []Missing  `json:"missing"`
}

// FailedAuth are failed authentications by several dimensions.
type FailedAuth struct {
	Requests  int64          `json:"requests"`
	Reasons   []ReasonCount  `json:"reasons"`
	Keys      []KeyCount     `json:"keys"`
	Addresses []AddressCount `json:"addresses"`
	Countries []CountryCount `json:"countries"`
	Hints     []HintCount    `json:"hints"`
}

// KeyCount counts the requests of one key.
type KeyCount struct {
	KeyID    string `json:"key_id"`
	Requests int64  `json:"requests"`
}

// HintCount counts the requests with one hint of an unknown credential.
type HintCount struct {
	Hint     string `json:"hint"`
	Requests int64  `json:"requests"`
}

// Anomaly is something unusual.
type Anomaly struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Time    time.Time `json:"time"`
	KeyID   *string   `json:"key_id"`
	Subject *string   `json:"subject"` // a country, network, address or hint
	Usual   string    `json:"usual"`
	Seen    string    `json:"seen"`
	Window  int64     `json:"window_seconds"`
}

// Hygiene is what is untidy about an account's keys.
type Hygiene struct {
	Checked   int       `json:"checked"` // keys
	Data      []Untidy  `json:"data"`
	Truncated bool      `json:"truncated"`
	Missing   []Missing `json:"missing"`
}

// Untidy is a finding about a key, with the command that mends it.
type Untidy struct {
	KeyID   string `json:"key_id"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Finding string `json:"finding"`
	Detail  string `json:"detail"`
	Command string `json:"command"`
}
