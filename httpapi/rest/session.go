package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// The names of the session's cookie. Browsers accept the first from this host alone, and
// only with TLS.
const (
	secureCookie = "__Host-perfgate"
	plainCookie  = "perfgate"
)

// CSRFHeader must be "1" in calls with a session's cookie that change something: a page of
// another origin cannot set it without asking.
const CSRFHeader = "X-Perf-Request"

// SignIn holds the settings of sessions.
type SignIn struct {
	// Hosts are the names in Host, besides loopback and IP addresses, at which sessions
	// are accepted: no page can have a name of its own resolve to this listener and act
	// with the session (DNS rebinding).
	Hosts []string
	Idle  time.Duration // without a call, after which a session ends; 0: none
	Max   time.Duration // of a session
	// Trusted are the proxies in front of the admin listener: their X-Forwarded-Proto tells
	// how the browser came.
	Trusted []netip.Prefix
}

// seenShare is the part of the idle time after which the use of a session is written:
// a session ends at most that much early, and calls make few writes.
const seenShare = 8

// seenWait bounds the wait for that write; a call goes on without it.
const seenWait = 2 * time.Second

// NewSessionSecret is a secret of a session of owner, as its cookie holds it, and its hash.
func NewSessionSecret(owner string) (cookie string, h store.Hash) {
	secret := ids.New(ids.New(""))
	return owner + "." + secret, sha256.Sum256([]byte(secret))
}

// Browser is a call as one with a browser: what concerns cookies and origins.
type Browser struct{ *Call }

// sessionCookie is the cookie of the request's session; "" if there is none. In
// plaintext there may be a secure one too: a proxy in front has the TLS.
func sessionCookie(r *http.Request) string {
	for _, name := range []string{secureCookie, plainCookie} {
		if c, err := r.Cookie(name); err == nil && (name == secureCookie || r.TLS == nil) {
			return c.Value
		}
	}
	return ""
}

// Secure reports whether the browser came by https, also where a proxy has the TLS: then the
// browser says so itself in calls that change something, and a trusted proxy in all.
func (c Browser) Secure() bool {
	r := c.Request
	if r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://") {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !slices.ContainsFunc(c.frame.cfg.SignIn.Trusted, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) }) {
		return false
	}
	lines := r.Header["X-Forwarded-Proto"] // the last word is that of the nearest proxy
	if len(lines) == 0 {
		return false
	}
	last := lines[len(lines)-1]
	return strings.EqualFold(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]), "https")
}

// SetCookie gives the browser the cookie of a session; "" takes it away.
func (c Browser) SetCookie(value string, ends time.Time) {
	secure := c.Secure()
	cookie := &http.Cookie{Name: plainCookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure}
	if secure {
		cookie.Name = secureCookie
	}
	if value == "" {
		cookie.MaxAge = -1
	} else {
		cookie.Expires = ends.UTC()
	}
	http.SetCookie(c.w, cookie)
	if value == "" && secure { // of an earlier sign-in without TLS
		cookie.Name, cookie.Secure = plainCookie, false
		http.SetCookie(c.w, cookie)
	}
}

// CheckHost refuses a request whose Host may be any name that resolves here.
func (c Browser) CheckHost() *fault.Error {
	host := c.Request.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
		return nil
	}
	if slices.ContainsFunc(c.frame.cfg.SignIn.Hosts, func(name string) bool { return strings.EqualFold(name, host) }) {
		return nil
	}
	return fault.Newf(fault.Forbidden, "Sessions are not accepted at this host name; use localhost or an IP address, or add the name to signin.allowed_hosts.")
}

// CheckOrigin refuses a request that a page of another origin sent. must says that the
// browser has to state its origin.
func (c Browser) CheckOrigin(must bool) *fault.Error {
	r := c.Request
	origin := r.Header.Get("Origin")
	if origin == "" && !must {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) || r.TLS != nil && u.Scheme != "https" {
		return fault.Newf(fault.Forbidden, "The request must come from a page of this host: Origin must be its address.")
	}
	return nil
}

// signedIn establishes the caller by the session's cookie; false if there is none.
func (c Browser) signedIn() (bool, *fault.Error) {
	cookie := sessionCookie(c.Request)
	if cookie == "" || len(c.Request.Header["Authorization"]) > 0 {
		return false, nil
	}
	if f := c.CheckHost(); f != nil {
		return true, f
	}
	if m := c.Request.Method; m != http.MethodGet && m != http.MethodHead {
		if f := c.CheckOrigin(true); f != nil {
			return true, f
		}
		if c.Request.Header.Get(CSRFHeader) != "1" {
			return true, fault.Newf(fault.Forbidden, "A change with a session needs the header %s: 1.", CSRFHeader)
		}
	}
	// A node without a lease may not know that the session has ended.
	if f := c.frame.cfg.Gate.Serving(); f != nil {
		return true, f
	}
	caller, f := c.frame.session(cookie, c.Now)
	if f != nil {
		return true, f
	}
	c.Caller = caller
	admit.Vouch(c.Request.Context())
	c.seen()
	return true, nil
}

// session resolves the cookie of a session to the rights that it has now.
func (f *Frame) session(cookie string, now time.Time) (Caller, *fault.Error) {
	over := fault.New(fault.InvalidSession)
	owner, secret, ok := strings.Cut(cookie, ".")
	if !ok || len(owner) > 64 || strings.ContainsFunc(owner, func(r rune) bool { return r != '_' && !isAlphanumeric(r) }) {
		return Caller{}, over
	}
	h := store.Hash(sha256.Sum256([]byte(secret)))
	s, err := f.cfg.Store.People().Session(owner, store.SessionIDOf(h))
	switch {
	case err != nil:
		return Caller{}, fault.Wrap(fault.Unavailable, err)
	case s == nil || subtle.ConstantTimeCompare(s.Hash[:], h[:]) == 0 || s.Over(now):
		return Caller{}, over
	}
	out := Caller{Session: s, cookie: cookie}
	switch s.Kind {
	case store.OfUser:
		u, err := f.cfg.Store.People().User(store.UserID(s.Owner))
		if err != nil {
			return Caller{}, fault.Wrap(fault.Unavailable, err)
		}
		if u == nil || u.Disabled {
			return Caller{}, over
		}
		out.User, out.Role = u, u.Role
		out.Actor = store.Actor{Type: store.ActorUser, ID: string(u.ID), Name: u.Name}
		if u.Name == "" {
			out.Actor.Name = u.Email
		}
	case store.OfToken:
		o := f.cfg.Store.OperatorToken(s.Token)
		if !slices.Contains(f.cfg.Store.OperatorTokens(), s.Token) || o.Expired(now) {
			return Caller{}, over
		}
		out.Role = store.RoleOperator
		out.Actor = store.Actor{Type: store.ActorOperator, ID: o.ID, Name: o.Name}
	default:
		stands, err := f.mayLink(strings.TrimPrefix(s.Name, store.LinkOf), s.Account, now)
		if err != nil {
			return Caller{}, fault.Wrap(fault.Unavailable, err)
		}
		if !stands {
			return Caller{}, over
		}
		out.Actor = store.Actor{Type: store.ActorUser, ID: string(s.ID), Name: s.Name}
	}
	return out, nil
}

// mayLink reports whether the maker of a session link, by the id of a user or an operator
// token, may still make links to the account: a link does not outlive the right to make it.
func (f *Frame) mayLink(by string, account store.AccountID, now time.Time) (bool, error) {
	if strings.HasPrefix(by, "usr_") {
		u, err := f.cfg.Store.People().User(store.UserID(by))
		if err != nil || u == nil || u.Disabled {
			return false, err
		}
		own := u.Account == account && (u.Role == store.RoleOwner || u.Role == store.RoleAdmin)
		return own || u.Role == store.RoleOperator, nil
	}
	return slices.ContainsFunc(f.cfg.Store.OperatorTokens(), func(h store.Hash) bool {
		o := f.cfg.Store.OperatorToken(h)
		return o.ID == by && !o.Expired(now)
	}), nil
}

// MayLink reports whether the maker of a session link may still make links to its account.
func (c Browser) MayLink(l *store.Link) (bool, error) { return c.frame.mayLink(l.By, l.Account, c.Now) }

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// seen writes that the session is in use, if the last such write is old enough.
func (c Browser) seen() {
	s := c.Caller.Session
	if v := viewOf(c.Request); v != nil && v.Live || s.Idle == 0 || c.Now.Sub(s.Seen) < time.Duration(s.Idle)*time.Second/seenShare {
		return
	}
	cmd := &store.Command{At: stamp(c.Now), Actor: c.Caller.Actor, Account: s.Account, Change: &store.SessionSeen{Owner: s.Owner, ID: s.ID}}
	ctx, cancel := context.WithTimeout(c.Request.Context(), seenWait)
	defer cancel()
	// Without a leader the call fails by itself or needs none.
	_, _ = c.frame.cfg.Backend.Propose(ctx, cmd)
}

// admitSession checks that the session's role, or a link's scopes, suffice for the call.
func (c Browser) admitSession() *fault.Error {
	s, rt := c.Caller.Session, c.Route
	if rt.Access&Personal != 0 {
		c.Account = s.Account
		return nil
	}
	if c.Caller.Operates() {
		return c.pickAccount()
	}
	c.Account = s.Account
	if want := c.Request.Header.Get(AccountHeader); want != "" && want != string(c.Account) {
		return fault.Newf(fault.Forbidden, "%s: a user acts on their own account only.", AccountHeader)
	}
	cell := c.frame.cfg.Store.Cell(c.Account)
	if cell == nil || cell.Load() == nil {
		return fault.New(fault.InvalidSession)
	}
	if cell.Load().Suspended {
		return fault.New(fault.AccountSuspended)
	}
	if f := c.allowed(); f != nil {
		return f
	}
	if rt.Access&Unmetered == 0 {
		return c.chargeView()
	}
	return nil
}

// allowed checks the role of a user, or the scopes of a link.
func (c Browser) allowed() *fault.Error {
	rt := c.Route
	if c.Caller.Session.Kind != store.OfLink {
		if !rt.Allow(c.Caller.Role) {
			return fault.Newf(fault.Forbidden, "The role %s may not make this call.", c.Caller.Role)
		}
		return nil
	}
	held, _ := store.SplitScopes(c.Caller.Session.Scopes)
	switch {
	case rt.Access&(Operators|NoKeys) != 0:
		return fault.Newf(fault.Forbidden, "A session of a link may not make this call.")
	case rt.Access&AnyScope == 0 && held&store.ScopeAdmin == 0 && held&rt.Scope != rt.Scope:
		return &fault.Error{Code: fault.InsufficientScope, Scope: strings.Join(rt.Scope.Names(), " "), Message: "The link of this session lacks the scope that the call needs."}
	}
	return nil
}

// lostSession is the reason why the session may not go on with the call.
func (c Browser) lostSession() *fault.Error {
	now, _ := c.frame.cfg.Clock()
	caller, f := c.frame.session(c.Caller.cookie, now)
	switch {
	case f != nil:
		return f
	case caller.Role != c.Caller.Role:
		return fault.Newf(fault.Forbidden, "The role of the user has changed; repeat the call.")
	}
	if cell := c.frame.cfg.Store.Cell(c.Account); !caller.Operates() && cell != nil && c.Route.Access&Personal == 0 {
		if state := cell.Load(); state == nil || state.Suspended {
			return fault.New(fault.AccountSuspended)
		}
	}
	return nil
}

// Mono is the monotonic time that belongs to Now, in nanoseconds.
func (c Browser) Mono() int64 { return c.mono }

// Hint notes what the audit log shows in place of a caller that was not recognised.
func (c Browser) Hint(s string) { c.hint = apikey.Mask(s) }

// Agent is the part of the request's User-Agent that is kept.
func (c Browser) Agent() string { return agent(c.Request) }

// Base is the URL of this listener as the client knows it.
func (c Browser) Base() string {
	if c.Secure() {
		return "https://" + c.Request.Host
	}
	return "http://" + c.Request.Host
}

// OperatorToken finds an operator token that is accepted now.
func (c Browser) OperatorToken(token string) (store.OperatorToken, bool) {
	return c.frame.OperatorToken(token)
}
