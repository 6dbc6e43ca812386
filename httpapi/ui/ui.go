package ui

import (
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// Config holds the parts of a [UI]. API and Logger are required.
type Config struct {
	API    http.Handler // the management API on the admin listener
	Logger *slog.Logger
	// Proxy is the origin of the proxy listener on this machine, such as
	// "http://127.0.0.1:8080". It is shown with the name that the browser used.
	Proxy string
	// Hosts are the names, apart from localhost and IP addresses, under which browsers
	// may ask for the dashboard.
	Hosts []string
	// Provider is the host of the OpenID Connect provider; "" without one.
	Provider string
	// Facts are the node's settings; nil knows of none.
	Facts func() Facts
	// Opens tells what a key with scopes and routes would open of the proxy's routes, the
	// most specific first; nil knows of no routes.
	Opens func(scopes, routes []string) []Opening
	// Client finds the address of the browser; nil is the peer's.
	Client func(*http.Request) netip.Addr
	// Clock is the time of day; nil is the machine's.
	Clock func() time.Time
	// Ready is false once the node stops; nil never stops.
	Ready func() bool
}

// UI serves the dashboard.
type UI struct {
	cfg    Config
	mux    *http.ServeMux
	pages  map[string]*template.Template // by name of the page's file, without extension
	assets *assets
	live   rest.Slots // the places of pages that are followed
}

// New returns the dashboard over cfg.
func New(cfg Config) (*UI, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Facts == nil {
		cfg.Facts = func() Facts { return Facts{} }
	}
	if cfg.Opens == nil {
		cfg.Opens = func([]string, []string) []Opening { return nil }
	}
	if cfg.Client == nil {
		cfg.Client = peer
	}
	if cfg.Ready == nil {
		cfg.Ready = func() bool { return true }
	}
	u := &UI{cfg: cfg, mux: http.NewServeMux(), live: rest.NewSlots(maxLive, eachLive, "Too many pages are followed at once.")}
	var err error
	if u.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("load the dashboard's assets: %w", err)
	}
	if u.pages, err = u.parsePages(); err != nil {
		return nil, fmt.Errorf("parse the dashboard's pages: %w", err)
	}
	u.mux.Handle("GET "+u.assets.prefix+"{file}", u.assets)
	for _, p := range u.routes() {
		u.mux.Handle(p.pattern, u.page(p))
	}
	return u, nil
}

// peer is the address that a request came from.
func peer(r *http.Request) netip.Addr {
	p, _ := netip.ParseAddrPort(r.RemoteAddr)
	return p.Addr().Unmap().WithZone("")
}

// Takes reports whether a request that is none of the API's is one of the dashboard's: a
// page or an asset, or a browser that asks for a page that does not exist.
func (u *UI) Takes(r *http.Request) bool {
	if path.Clean(r.URL.Path) != r.URL.Path || r.URL.RawPath != "" {
		return false
	}
	if _, pattern := u.mux.Handler(r); pattern != "" {
		return true
	}
	return r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/v1/") && isBrowser(r)
}

// isBrowser holds for a client that names HTML among the media types it accepts.
func isBrowser(r *http.Request) bool {
	weight, named := fault.Accepts(r.Header.Values("Accept"), "text/html")
	return named && weight > 0
}

// policy is the Content-Security-Policy of every page.
const policy = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler] for requests that [UI.Takes].
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest.SetHeaders(w.Header(), r)
	setPageHeaders(w.Header(), r)
	if !u.allowsHost(r.Host) {
		// A name that anybody can point at this address must not read the pages.
		u.refuse(w, r, http.StatusMisdirectedRequest, "This name is not one of the dashboard's.",
			"Ask for it at an IP address or at localhost, or list the name under signin.allowed_hosts.")
		return
	}
	if _, pattern := u.mux.Handler(r); pattern == "" {
		u.refuse(w, r, http.StatusNotFound, "There is no such page.", "The link may be old. Go to the overview and look from there.")
		return
	}
	u.mux.ServeHTTP(w, r)
}

// setPageHeaders sets the fields of the header that pages have, and other answers do not.
func setPageHeaders(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", policy)
	// With "no-referrer", browsers send "Origin: null" with forms.
	h.Set("Referrer-Policy", "same-origin")
	if r.TLS != nil { // browsers complain of it without
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// allowsHost holds for an address, for localhost and for the names in the settings.
func (u *UI) allowsHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(u.cfg.Hosts, func(name string) bool { return strings.EqualFold(name, host) })
}

// route is one page: its pattern for [http.ServeMux] and its handler.
type route struct {
	pattern string
	open    bool // without a session
	serve   func(*visit) error
}

// page serves p within a visit.
func (u *UI) page(p route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wantsLive(r) && !p.open {
			u.follow(w, r, p)
			return
		}
		v, err := u.visit(w, r)
		if err == nil && !p.open {
			if err = v.signIn(); err == nil {
				err = v.me.mayOpen(p.pattern)
			}
		}
		if err == nil {
			err = v.readForm()
		}
		if err == nil {
			err = p.serve(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}
