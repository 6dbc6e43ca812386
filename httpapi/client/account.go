package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// GetAllowlist reads the account's allowlist.
func (c *Client) GetAllowlist(ctx context.Context) (*Allowlist, error) {
	return allowlist(ctx, c, "GET", "", nil, nil)
}

// SetAllowlist replaces the account's allowlist. No entries allow every address.
func (c *Client) SetAllowlist(ctx context.Context, entries []AllowEntry, opts ...Option) (*Allowlist, error) {
	if entries == nil {
		entries = []AllowEntry{}
	}
	return allowlist(ctx, c, "PUT", "", Allowlist{Entries: entries}, opts)
}

// Trial holds the calls that end the trial of an allowlist.
type Trial struct{ Client *Client }

// Confirm keeps the list that is on trial.
func (t Trial) Confirm(ctx context.Context, opts ...Option) (*Allowlist, error) {
	return allowlist(ctx, t.Client, "POST", "/confirm", nil, opts)
}

// Revert brings back the list from before the trial.
func (t Trial) Revert(ctx context.Context, opts ...Option) (*Allowlist, error) {
	return allowlist(ctx, t.Client, "POST", "/revert", nil, opts)
}

// allowlist makes a call that answers with the allowlist and its ETag.
func allowlist(ctx context.Context, c *Client, method, call string, body any, opts []Option) (*Allowlist, error) {
	out := new(Allowlist)
	header, err := c.do(ctx, method, "/v1/allowlist"+call, nil, body, out, opts)
	if err != nil {
		return nil, err
	}
	out.ETag = header.Get("ETag")
	return out, nil
}

// SimulateLimits runs a proposed limit over the traffic that the server has recorded.
func (c *Client) SimulateLimits(ctx context.Context, p Proposal) (*Simulation, error) {
	return call[Simulation](ctx, c, "POST", "/v1/limits/simulate", nil, p, nil)
}

// Limits returns every policy that applies to the caller or, to operators and keys with
// the scope admin, to the key with the given id; "" is the caller or, for an operator, the
// account.
func (c *Client) Limits(ctx context.Context, key string) ([]Policy, error) {
	q := url.Values{}
	add(q, "key", key)
	out, err := call[List[Policy]](ctx, c, "GET", "/v1/limits", q, nil, nil)
	if err != nil {
		return nil, err
	}
	return out.Data, nil
}

func (q AuditQuery) query() url.Values {
	v := q.Page.query()
	for name, value := range map[string]string{
		"start_date": q.StartDate, "end_date": q.EndDate, "key": q.Key, "event_type": q.EventType,
		"user": q.User, "action": q.Action, "outcome": q.Outcome, "log": q.Log, "order": q.Order, "format": q.Format,
	} {
		add(v, name, value)
	}
	if q.BOM {
		v.Set("bom", "true")
	}
	return v
}

// AuditLogs writes the audit log to w as the server sends it: one page with a
// limit, all of it without. After an error, w holds an incomplete log.
func (c *Client) AuditLogs(ctx context.Context, q AuditQuery, w io.Writer) error {
	return c.Do(ctx, "GET", "/v1/audit-logs", q.query(), nil, w)
}

// AuditHead returns the signed heads of a log, as JSON to be kept: "account", which "" stands
// for, or "operators".
func (c *Client) AuditHead(ctx context.Context, log string) (*AuditHeads, error) {
	q := url.Values{}
	add(q, "log", log)
	return call[AuditHeads](ctx, c, "GET", "/v1/audit-logs/head", q, nil, nil)
}

// AuditKeys are the public keys that sign the heads of the audit log, oldest first.
type AuditKeys struct {
	Keys []AuditKey `json:"keys"`
}

// AuditKey is one of them; each later one is endorsed by the one before it.
type AuditKey struct {
	ID          string    `json:"id"`
	PublicKey   string    `json:"public_key"` // Ed25519, base64
	CreatedAt   time.Time `json:"created_at"`
	EndorsedBy  string    `json:"endorsed_by,omitzero"`
	Endorsement string    `json:"endorsement,omitzero"`
}

// RotateAuditKey gives the audit log another signing key.
func (c *Client) RotateAuditKey(ctx context.Context) (*AuditKeys, error) {
	return call[AuditKeys](ctx, c, "POST", "/v1/audit-logs/rotate-key", nil, nil, nil)
}

// Events iterates over the audit log page by page. It ends after an error.
func (c *Client) Events(ctx context.Context, q AuditQuery) iter.Seq2[*Event, error] {
	q.Format = "json"
	if q.Limit == 0 {
		q.Limit = 1000
	}
	return walk(func(cursor string) (*List[Event], error) {
		q.Cursor = cursor
		return call[List[Event]](ctx, c, "GET", "/v1/audit-logs", q.query(), nil, nil)
	})
}

// GetAccount reads the caller's account.
func (c *Client) GetAccount(ctx context.Context) (*Account, error) {
	return call[Account](ctx, c, "GET", "/v1/account", nil, nil, nil)
}

// UpdateAccount changes the members in p of the caller's account.
func (c *Client) UpdateAccount(ctx context.Context, p Patch, opts ...Option) (*Account, error) {
	return call[Account](ctx, c, "PATCH", "/v1/account", nil, p, opts)
}

// Livez reports whether the process answers.
func (c *Client) Livez(ctx context.Context) (*Health, error) {
	return call[Health](ctx, c, "GET", "/livez", nil, nil, nil)
}

// Readyz reports whether the node is ready for traffic. Not being ready is an
// answer, not an error.
func (c *Client) Readyz(ctx context.Context) (*Health, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", c.base.JoinPath("/readyz").String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	h := new(Health)
	if err := json.NewDecoder(resp.Body).Decode(h); err != nil || h.Status == "" {
		return nil, fmt.Errorf("GET /readyz: %s: %w", resp.Status, ErrForeign)
	}
	return h, nil
}

// SecurityTxt writes /.well-known/security.txt to w.
func (c *Client) SecurityTxt(ctx context.Context, w io.Writer) error {
	return c.Do(ctx, "GET", "/.well-known/security.txt", nil, nil, w)
}

// OpenAPI writes the description of the API, openapi.yaml, to w.
func (c *Client) OpenAPI(ctx context.Context, w io.Writer) error {
	return c.Do(ctx, "GET", "/openapi.yaml", nil, nil, w)
}

// Metrics writes the node's metrics to w, in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	return c.Do(ctx, "GET", "/metrics", nil, nil, w)
}
