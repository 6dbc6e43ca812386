package ui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// The bounds of a form, in bytes.
const (
	maxForm     = 256 << 10
	maxLongForm = 16 << 20 // with an allowlist, whose text is percent-encoded
)

// visit is one request for a page. It belongs to the goroutine that serves it.
type visit struct {
	ui      *UI
	w       http.ResponseWriter
	r       *http.Request
	api     *client.Client // calls in the browser's name
	carrier *carrier
	me      session // after signIn
	account string  // that an operator looks at
	live    bool    // the answer is the part of the page that changes
}

// visit begins a visit. The error of a POST is that it came from elsewhere.
func (u *UI) visit(w http.ResponseWriter, r *http.Request) (*visit, error) {
	v := &visit{ui: u, w: w, r: r}
	_, pattern, _ := strings.Cut(r.Pattern, " ")
	v.carrier = &carrier{
		api: u.cfg.API, browser: r, id: w.Header().Get(fault.RequestIDHeader),
		view: &rest.View{Path: r.URL.Path, Pattern: strings.TrimSuffix(pattern, "{$}")},
	}
	v.api, _ = client.New("http://dashboard.invalid", "") // the URL is well-formed; no name is looked up
	v.api.HTTP = &http.Client{Transport: v.carrier}
	if r.Method == http.MethodPost {
		if err := v.ownOrigin(); err != nil {
			return v, err
		}
	}
	return v, nil
}

// readForm reads the form of a POST, once the visitor is known: strangers make nothing be
// held but the short form that signs in.
func (v *visit) readForm() error {
	if v.r.Method != http.MethodPost {
		return nil
	}
	limit := int64(maxForm)
	if v.r.URL.Path == "/security/allowlist" || v.r.URL.Path == "/command" {
		limit = maxLongForm
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, limit)
	if err := v.r.ParseForm(); err != nil {
		return &fault.Error{Code: fault.InvalidRequest, Message: "The form cannot be read, or is too long.", Cause: err}
	}
	return nil
}

// ownOrigin is a fault unless the form was sent by a page of this dashboard. The scheme is
// not compared: behind a proxy that ends TLS it is another one here.
func (v *visit) ownOrigin() error {
	origin, err := url.Parse(v.r.Header.Get("Origin"))
	if err == nil && origin.Host != "" && strings.EqualFold(origin.Host, v.r.Host) {
		return nil
	}
	return fault.Newf(fault.Forbidden, "The form was not sent by a page of this dashboard. Open the page here and send it again.")
}

// form is a value of the form, without blanks around it.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

// query is a parameter of the page's URL.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

func (v *visit) context() context.Context { return v.r.Context() }

// once is the Idempotency-Key that the form carries.
func (v *visit) once() client.Option {
	return client.IdempotencyKey(v.form("once"))
}

// passCookies hands the cookies that the API has set to the browser.
func (v *visit) passCookies() {
	for _, c := range v.carrier.cookies {
		v.w.Header().Add("Set-Cookie", c)
	}
	v.carrier.cookies = nil
}

// see answers a POST with the page to look at next.
func (v *visit) see(target string) error {
	v.passCookies()
	v.w.Header().Set("Location", v.link(target))
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// picked reports whether an operator looks at an account that links must name.
func (v *visit) picked() bool { return v.me.Operator() && v.account != defaultAccount }

// link is a path of the dashboard, perhaps with a query, with the account that an operator
// looks at. The account stands in every URL, and not in a cookie, so that two tabs with
// two accounts do not disturb each other.
func (v *visit) link(target string) string {
	if !v.picked() {
		return target
	}
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	q := u.Query()
	q.Set("account", v.account)
	u.RawQuery = q.Encode()
	return u.String()
}

// render answers with a page.
func (v *visit) render(status int, name string, p *page) error {
	p.visit = v
	p.Name = name
	var out bytes.Buffer
	what := "layout"
	if v.live {
		if what = "live"; v.ui.pages[name].Lookup(what) == nil {
			return fault.Newf(fault.NotFound, "This page has no part that changes.")
		}
	}
	if err := v.ui.pages[name].ExecuteTemplate(&out, what, p); err != nil {
		return err
	}
	v.passCookies()
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = io.Copy(v.w, &out) // a client that has gone needs no answer
	}
	return nil
}

// show answers with a page and the status 200.
func (v *visit) show(name, title string, body any) error {
	return v.render(http.StatusOK, name, &page{Title: title, Body: body})
}

// fail answers with the page of an error; without a session, with the way to sign in.
func (v *visit) fail(err error) {
	f := fault.From(err)
	if signedOut(f) && v.r.URL.Path != "/signin" {
		next := v.r.URL.RequestURI()
		if v.r.Method != http.MethodGet {
			next = "/"
		}
		v.w.Header().Set("Location", "/signin?"+url.Values{"next": {next}}.Encode())
		v.w.WriteHeader(http.StatusSeeOther)
		return
	}
	if f.Code == fault.Internal && v.r.Context().Err() == nil {
		v.ui.cfg.Logger.Error("page failed", "path", v.r.URL.Path, "request_id", v.carrier.id, "error", err)
	}
	p := &page{Title: "That did not work", Problem: f}
	if err := v.render(f.Code.Status(), "problem", p); err != nil {
		v.ui.cfg.Logger.Error("page of an error failed", "request_id", v.carrier.id, "error", err)
		http.Error(v.w, "Internal error.", http.StatusInternalServerError)
	}
}

// signedOut holds for the faults of a call without a session that is accepted. Others with
// the same status are about what a form holds.
func signedOut(f *fault.Error) bool {
	return f.Code.Status() == http.StatusUnauthorized && f.Code != fault.InvalidCredentials && f.Code != fault.SecondFactorRequired
}

// refuse answers a request that has no session, or needs none, with an error.
func (u *UI) refuse(w http.ResponseWriter, r *http.Request, status int, what, next string) {
	v := &visit{ui: u, w: w, r: r, carrier: &carrier{id: w.Header().Get(fault.RequestIDHeader)}}
	p := &page{Title: what, Problem: &fault.Error{Code: fault.NotFound, Message: next}}
	if err := v.render(status, "problem", p); err != nil {
		http.Error(w, what, status)
	}
}

// reading is a GET of the API for the account that is looked at, whose answer is not decoded.
func reading(ctx context.Context, v *visit, path string, q url.Values) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Path: path, RawQuery: q.Encode()}).String(), nil)
	if err != nil {
		return nil, err
	}
	if v.api.Account != "" {
		r.Header.Set("X-Perf-Account", v.api.Account)
	}
	return v.carrier.dress(r), nil
}

// stream sends an answer of the API as a file. A fault becomes a page.
func (v *visit) stream(path string, q url.Values, accept, name string) error {
	r, err := reading(v.context(), v, path, q)
	if err != nil {
		return err
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	kept := &unfaulty{ResponseWriter: v.w}
	v.ui.cfg.API.ServeHTTP(kept, r)
	if f := kept.fault(r); f != nil {
		setPageHeaders(v.w.Header(), v.r) // the call has set its own
		return f
	}
	return nil
}

// allowed separates a refusal for lack of a right, with which a page leaves a part out,
// from other errors.
func allowed(err error) (bool, error) {
	if f := (*fault.Error)(nil); errors.As(err, &f) && f.Code.Status() == http.StatusForbidden {
		return false, nil
	}
	return err == nil, err
}
