package manage

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// linkSession is how long the session of a link lasts.
const linkSession = time.Hour

// The life of a session link until it is opened.
const (
	linkLife    = 15 * time.Minute
	maxLinkLife = 24 * time.Hour
)

// Links serves the calls about session links.
type Links struct {
	Store    peopleStore
	Sessions *Sessions
}

// newLink is the body of POST /v1/session-links.
type newLink struct {
	Account *store.AccountID `json:"account"`
	TTL     *string          `json:"ttl"`
	Scopes  *[]string        `json:"scopes"`
}

// Check implements [rest.Checker].
func (in *newLink) Check(c *rest.Call) error {
	var faults fault.List
	_, err := in.link()
	faults.Add(err)
	if in.Account != nil && *in.Account != c.Account && c.Caller.Operates() {
		faults.Add(checkAccountNamed(c, *in.Account))
	}
	return faults.Err()
}

// link is the link that in describes, as yet without a secret; its end is a duration.
func (in *newLink) link() (life time.Duration, err error) {
	var faults fault.List
	life = linkLife
	if in.TTL != nil {
		if life, err = span.Parse(*in.TTL); err != nil || life < time.Second || life > maxLinkLife {
			faults.Add(rest.Invalid("ttl", `must be a duration such as "15m", at most %s`, span.Go(maxLinkLife)))
		}
	}
	if in.Scopes != nil {
		faults.Add(checkScopes(*in.Scopes))
	}
	return life, faults.Err()
}

// sessionLink is the one answer that holds the link.
type sessionLink struct {
	ID        string          `json:"id"`
	URL       *string         `json:"url"`
	Withheld  bool            `json:"secret_withheld,omitzero"`
	Account   store.AccountID `json:"account"`
	Scopes    []string        `json:"scopes"`
	ExpiresAt time.Time       `json:"expires_at"`
}

// Create makes a link and shows it, once.
func (h *Links) Create(c *rest.Call, in *newLink) (*sessionLink, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	life, _ := in.link() // it was checked
	account := c.Account
	if in.Account != nil && *in.Account != account {
		if !c.Caller.Operates() {
			return nil, &fault.Error{Code: fault.Forbidden, Param: "/account", Message: "account: an owner or admin makes links to their own account."}
		}
		account = *in.Account
	}
	token := ids.New(ids.New(linkPrefix + string(account) + "_"))
	l := store.Link{Hash: sha256.Sum256([]byte(token)), Scopes: []string{"admin"}, Ends: c.Stamp().Add(life)}
	set(&l.Scopes, in.Scopes)
	rc, err := c.Propose(&store.Command{Account: account, Change: &store.LinkCreate{Link: l}})
	if err != nil {
		return nil, err
	}
	c.Created(rc)
	out := &sessionLink{ID: rc.Link.ID, URL: some(rest.Browser{Call: c}.Base() + "/signin/link?token=" + url.QueryEscape(token)), Account: account, Scopes: rc.Link.Scopes, ExpiresAt: rc.Link.Ends.UTC()}
	if rc.Repeat {
		out.URL, out.Withheld = nil, true
	}
	return out, nil
}

// Page shows where a link leads. Programs that look at links for a preview must not use them
// up: a person presses the button.
func (h *Links) Page(c *rest.Call) error {
	q := c.Query()
	token := q.Text("token")
	if err := q.Err(); err != nil {
		return err
	}
	if f := (rest.Browser{Call: c}.CheckHost()); f != nil {
		return f
	}
	return h.Sessions.showForm(c, "link", http.StatusOK, setupForm{Token: token})
}

// Open takes the page's form: it uses the link up and signs its browser in.
func (h *Links) Open(c *rest.Call) error {
	form, err := readForm(c)
	if err != nil {
		return err
	}
	if f := h.Sessions.wait(&signin.Attempt{Client: c.Client, Mono: rest.Browser{Call: c}.Mono()}); f != nil {
		return f
	}
	if err := c.Linearize(); err != nil {
		return err
	}
	start := &store.SessionStart{}
	if err = h.Sessions.withLink(c, form.Get("token"), start); err == nil {
		_, err = h.Sessions.start(c, nil, start)
	}
	if err != nil {
		f := fault.From(err)
		if s := f.Code.Status(); s >= 500 || s == http.StatusTooManyRequests {
			return f
		}
		rest.Browser{Call: c}.Hint("session link")
		return h.Sessions.showForm(c, "used", f.Code.Status(), setupForm{Fault: f.Sentence()})
	}
	return h.Sessions.showOpened(c)
}
