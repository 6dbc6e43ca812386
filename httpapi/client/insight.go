package client

import (
	"context"
	"encoding/json"
	"net/url"
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
	Missing   []Missing      `json:"missing"`
}

// LastUse is when and from where a key was last used.
type LastUse struct {
	At      time.Time `json:"at"`
	IP      *string   `json:"ip"`
	Country *string   `json:"country"`
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
