package manage

import (
	"crypto/sha256"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// tokenStore is the part of the state that the calls about operator tokens read.
type tokenStore interface {
	AllOperatorTokens() []store.OperatorToken
}

// Tokens serves the calls about operator tokens.
type Tokens struct {
	Store tokenStore
	Uses  useLog
}

// tokenView is an operator token as the API shows it. Name is null for the one that the
// installation began with.
type tokenView struct {
	ID         string     `json:"id"`
	Name       *string    `json:"name"`
	State      string     `json:"state"`
	CreatedAt  *time.Time `json:"created_at"`
	CreatedBy  *string    `json:"created_by"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	LastUsedIP *string    `json:"last_used_ip"`
}

// issuedToken is the one answer that holds an operator token.
type issuedToken struct {
	Token    *string `json:"token"`
	Withheld bool    `json:"secret_withheld,omitzero"`
	tokenView
}

// uses finds the last use of these tokens on any node.
func (h *Tokens) uses(c *rest.Call, tokens ...store.OperatorToken) map[store.KeyID]local.LastUse {
	ids := convert(tokens, func(o store.OperatorToken) store.KeyID { return store.KeyID(o.ID) })
	uses, _ := h.Uses.LastUses(c.Request.Context(), ids)
	return uses
}

func viewToken(c *rest.Call, o *store.OperatorToken, uses map[store.KeyID]local.LastUse) tokenView {
	v := tokenView{ID: o.ID, Name: some(o.Name), State: "active", CreatedAt: when(o.CreatedAt), CreatedBy: some(o.CreatedBy), ExpiresAt: when(o.ExpiresAt)}
	if o.Expired(c.Now) {
		v.State = "expired"
	}
	if use, ok := uses[store.KeyID(o.ID)]; ok {
		v.LastUsedAt = when(use.At.Truncate(time.Millisecond))
		if use.IP.IsValid() {
			v.LastUsedIP = some(use.IP.String())
		}
	}
	return v
}

// newToken is the body of POST /v1/operator-tokens.
type newToken struct {
	Name      *string    `json:"name"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// Check implements [rest.Checker].
func (in *newToken) Check(c *rest.Call) error {
	var faults fault.List
	if in.Name == nil {
		faults.Add(rest.Invalid("name", "is required"))
	} else {
		faults.Add(checkText("name", *in.Name, 1, maxName))
	}
	now := c.Now
	if c.Repeated() {
		now = time.Time{}
	}
	faults.Add((&keyFields{expiresAt: in.ExpiresAt}).check(now))
	return faults.Err()
}

// Create makes an operator token and shows it, once.
func (h *Tokens) Create(c *rest.Call, in *newToken) (*issuedToken, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	token := rest.NewOperatorToken()
	o := store.OperatorToken{Name: *in.Name, Hash: sha256.Sum256([]byte(token))}
	set(&o.ExpiresAt, in.ExpiresAt)
	rc, err := c.Propose(&store.Command{Change: &store.OperatorTokenCreate{Token: o}})
	if err != nil {
		return nil, err
	}
	c.Created(rc)
	out := &issuedToken{Token: &token, tokenView: viewToken(c, rc.OperatorToken, h.uses(c, *rc.OperatorToken))}
	if rc.Repeat {
		out.Token, out.Withheld = nil, true
	}
	return out, nil
}

// List shows all operator tokens in the order of their creation.
func (h *Tokens) List(c *rest.Call) (*rest.Page[tokenView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	all := h.Store.AllOperatorTokens()
	from := 0
	for i := range all {
		if all[i].ID == after {
			from = i + 1
		}
	}
	if after != "" && from == 0 { // it was deleted meanwhile
		return nil, fault.New(fault.InvalidCursor)
	}
	shown := all[from:min(from+limit, len(all))]
	uses := h.uses(c, shown...)
	out := &rest.Page[tokenView]{Data: []tokenView{}}
	for i := range shown {
		out.Data = append(out.Data, viewToken(c, &shown[i], uses))
	}
	if n := from + len(shown); n < len(all) {
		out.Next = q.Seal(all[n-1].ID)
	}
	return out, nil
}

// Delete ends an operator token, also the one that makes the call.
func (h *Tokens) Delete(c *rest.Call) (*deleted, error) {
	force, err := forced(c)
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Change: &store.OperatorTokenDelete{ID: c.Param, Force: force}})
	if err != nil {
		return nil, err
	}
	return &deleted{c.Param, true, c.Revoked(rc)}, nil
}
