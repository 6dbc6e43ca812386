package client

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"time"
)

// Erasure is the removal of the data that is stored about an account.
type Erasure struct {
	ID          string        `json:"id"`
	Account     string        `json:"account"`
	Everything  bool          `json:"everything"`
	State       string        `json:"state"` // scheduled, cancelled, running, done
	RequestedAt time.Time     `json:"requested_at"`
	RequestedBy ErasureActor  `json:"requested_by"`
	EffectiveAt time.Time     `json:"effective_at"`
	CancelledAt *time.Time    `json:"cancelled_at"`
	ErasedAt    *time.Time    `json:"erased_at"`
	DoneAt      *time.Time    `json:"done_at"`
	Nodes       []ErasureNode `json:"nodes"`

	// Receipt is there once the erasure is done, where a single one is read.
	Receipt json.RawMessage `json:"receipt,omitempty"`
}

// ErasureActor is the caller who asked for an erasure.
type ErasureActor struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// ErasureNode is what a node has done, and what it knows to be left.
type ErasureNode struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	At      time.Time `json:"at"`
	LogFrom uint64    `json:"log_from"`
	OldKeys bool      `json:"old_data_keys_until_restart"`
	Backups []string  `json:"backups_with_data"`
	Count   int       `json:"backups_with_data_total"`
}

// NewErasure describes an erasure. Confirm is the id of the account.
type NewErasure struct {
	Confirm    string `json:"confirm"`
	Everything bool   `json:"everything,omitempty"`
	Now        bool   `json:"now,omitempty"`
}

// Erasures are the calls about the erasure of an account's data.
type Erasures struct{ Client *Client }

const accountDataPath = "/v1/account/data"

func erasurePath(id, call string) string { return "/v1/account/erasures/" + url.PathEscape(id) + call }

// Create schedules an erasure.
func (e Erasures) Create(ctx context.Context, n NewErasure, opts ...Option) (*Erasure, error) {
	return call[Erasure](ctx, e.Client, "DELETE", accountDataPath, nil, n, opts)
}

// List returns one page of erasures, the newest first.
func (e Erasures) List(ctx context.Context, p Page) (*List[Erasure], error) {
	return call[List[Erasure]](ctx, e.Client, "GET", "/v1/account/erasures", p.query(), nil, nil)
}

// Get returns an erasure, with its receipt once it is done.
func (e Erasures) Get(ctx context.Context, id string) (*Erasure, error) {
	return call[Erasure](ctx, e.Client, "GET", erasurePath(id, ""), nil, nil, nil)
}

// Cancel cancels an erasure that is still scheduled.
func (e Erasures) Cancel(ctx context.Context, id string, opts ...Option) (*Erasure, error) {
	return call[Erasure](ctx, e.Client, "POST", erasurePath(id, "/cancel"), nil, nil, opts)
}

// Export writes all data that is stored about the account to w, an object a line. The
// last one has the type "end"; after an error, w holds an incomplete export.
func (e Erasures) Export(ctx context.Context, w io.Writer) error {
	return e.Client.Do(ctx, "GET", accountDataPath, nil, nil, w)
}
