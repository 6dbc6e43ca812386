package client

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"time"
)

// Incident is a breach, or what is feared to be one, and what was done about it.
type Incident struct {
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	State    string         `json:"state"` // open, closed
	Match    IncidentMatch  `json:"match"`
	Action   string         `json:"action"` // revoke, rotate, none
	Freeze   bool           `json:"freeze"`
	Matched  int            `json:"matched"`
	Revoked  int            `json:"revoked"`
	Rotated  int            `json:"rotated"`
	OpenedAt time.Time      `json:"opened_at"`
	OpenedBy IncidentActor  `json:"opened_by"`
	ClosedAt *time.Time     `json:"closed_at"`
	ClosedBy *IncidentActor `json:"closed_by"`

	// Keys and Head are not in lists; NewKeys, Failed and Revocation are in the answer that
	// opened it alone.
	Keys       []string        `json:"keys,omitempty"`
	Head       json.RawMessage `json:"head,omitempty"`
	NewKeys    []RotatedKey    `json:"new_keys,omitempty"`
	Failed     []FailedKey     `json:"failed,omitempty"`
	Revocation *Revocation     `json:"revocation,omitempty"`
}

// IncidentActor is the caller who opened or closed an incident.
type IncidentActor struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// RotatedKey is a new key in the place of an affected one. Key is nil in a repeat.
type RotatedKey struct {
	ID       string  `json:"id"`
	Replaces string  `json:"replaces"`
	Key      *string `json:"key"`
}

// FailedKey is an affected key that could not be rotated.
type FailedKey struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// IncidentMatch selects the affected keys: those that pass every filter that is set.
type IncidentMatch struct {
	IDs           []string   `json:"ids,omitempty"`
	CreatedBy     *string    `json:"created_by,omitempty"`
	Type          *string    `json:"type,omitempty"`
	Environment   *string    `json:"environment,omitempty"`
	CreatedBefore *time.Time `json:"created_before,omitempty"`
}

// NewIncident describes an incident to open.
type NewIncident struct {
	Title  string         `json:"title"`
	Match  *IncidentMatch `json:"match,omitempty"`
	Action string         `json:"action"`
	Freeze bool           `json:"freeze,omitempty"`
}

// Incidents are the calls about incidents.
type Incidents struct{ Client *Client }

func incidentPath(id, call string) string { return "/v1/incidents/" + url.PathEscape(id) + call }

// Open opens an incident, and revokes or rotates the affected keys.
func (i Incidents) Open(ctx context.Context, n NewIncident, opts ...Option) (*Incident, error) {
	return call[Incident](ctx, i.Client, "POST", "/v1/incidents", nil, n, opts)
}

// List returns one page of incidents, the newest first.
func (i Incidents) List(ctx context.Context, p Page) (*List[Incident], error) {
	return call[List[Incident]](ctx, i.Client, "GET", "/v1/incidents", p.query(), nil, nil)
}

// Get returns an incident.
func (i Incidents) Get(ctx context.Context, id string) (*Incident, error) {
	return call[Incident](ctx, i.Client, "GET", incidentPath(id, ""), nil, nil, nil)
}

// Close closes an incident.
func (i Incidents) Close(ctx context.Context, id string, opts ...Option) (*Incident, error) {
	return call[Incident](ctx, i.Client, "POST", incidentPath(id, "/close"), nil, nil, opts)
}

// Report copies the signed report to w: JSON, or a page to print if html is set.
func (i Incidents) Report(ctx context.Context, id string, html bool, w io.Writer) error {
	var opts []Option
	if html {
		opts = append(opts, Header("Accept", "text/html"))
	}
	return i.Client.Do(ctx, "GET", incidentPath(id, "/report"), nil, nil, w, opts...)
}
