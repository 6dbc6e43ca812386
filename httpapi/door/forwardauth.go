package door

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/iprange"
	"github.com/perfgate/perfgate/httpapi/proxy"
)

// Path is the path of [ForwardAuth].
const Path = "/forward-auth"

// headerStatus has the status of the decision where nginx needs another one.
const headerStatus = "X-Perf-Status"

// Decider decides as the proxy does. [proxy.Proxy] implements it.
type Decider interface {
	Decide(ctx context.Context, r *h1.Request, id string) *proxy.Decision
}

// ForwardAuth answers other proxies on the proxy listener.
type ForwardAuth struct {
	decider Decider
	from    *iprange.Set
	any     bool
}

// NewForwardAuth answers peers in from. Without any, the path is one like all others.
func NewForwardAuth(d Decider, from []netip.Prefix) *ForwardAuth {
	return &ForwardAuth{decider: d, from: iprange.NewSet(from), any: len(from) > 0}
}

// Takes reports whether r is a question to the door.
func (d *ForwardAuth) Takes(r *h1.Request) bool {
	if !d.any || r.Path != Path || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	peer, ok := admit.ReadAddress(r.Remote)
	return ok && d.from.Contains(peer)
}

// Lane takes the questions of HTTP/1.1, and leaves all else to next.
func (d *ForwardAuth) Lane(next func(*h1.Request) func(*h1.Exchange)) func(*h1.Request) func(*h1.Exchange) {
	if !d.any {
		return next
	}
	return func(r *h1.Request) func(*h1.Exchange) {
		if d.Takes(r) {
			return d.serve
		}
		return next(r)
	}
}

func (d *ForwardAuth) serve(x *h1.Exchange) {
	r := x.Request()
	a := d.answer(x.Context(), r)
	x.Begin(a.Status, &a.Fields, nil, int64(len(a.Body)))
	_, _ = x.Write(a.Body) // a proxy that has gone needs no answer
}

// Handler takes the questions of HTTP/2, and leaves all else to next.
func (d *ForwardAuth) Handler(next http.Handler) http.Handler {
	if !d.any {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r := h1.RequestOf(q)
		if !d.Takes(r) {
			next.ServeHTTP(w, q)
			return
		}
		a := d.answer(q.Context(), r)
		for name, value := range a.Fields.All() {
			w.Header()[name] = append(w.Header()[name], value)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body)
	})
}

// answer decides about the request that r tells of.
func (d *ForwardAuth) answer(ctx context.Context, r *h1.Request) *proxy.Decision {
	id := admit.RequestID(r.Fields.Values(fault.RequestIDHeader))
	nginx := r.Query == "nginx=1"
	var a *proxy.Decision
	if of, f := original(r, nginx); f != nil {
		out := admit.RenderFault(f, id, r.Fields.Values("Accept"))
		a = &proxy.Decision{Status: out.Status, Body: out.Body}
		a.Fields.Set(fault.RequestIDHeader, id)
		for _, field := range out.Fields {
			a.Fields.Add(field.Name, field.Value)
		}
	} else {
		a = d.decider.Decide(ctx, of, id)
	}
	if nginx {
		a.Fields.Set(headerStatus, strconv.Itoa(a.Status))
		if a.Status != http.StatusOK && a.Status != http.StatusUnauthorized {
			a.Status = http.StatusForbidden // nginx takes any other status for a failure of its own
		}
	}
	return a
}

// original is the request that r tells of. Each way has headers of its own, and reads no
// others: nginx passes those that it does not set on as the client has sent them.
func original(r *h1.Request, nginx bool) (*h1.Request, *fault.Error) {
	methodIn, uriIn, hostIn := "X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"
	if nginx {
		methodIn, uriIn, hostIn = "X-Original-Method", "X-Original-Uri", ""
	}
	method, f := only(r, methodIn)
	if f != nil {
		return nil, f
	}
	uri, f := only(r, uriIn)
	if f != nil {
		return nil, f
	}
	host := r.Host
	if hostIn != "" {
		if host, f = only(r, hostIn); f != nil {
			return nil, f
		}
	}
	if len(uri) > admit.MaxTarget {
		return nil, fault.New(fault.URITooLong)
	}
	of, ok := admit.RequestFor(method, host, uri)
	if !ok {
		return nil, fault.New(fault.InvalidRequest)
	}
	of.Major, of.Minor, of.Secure = r.Major, r.Minor, r.Fields.Get("X-Forwarded-Proto") == "https"
	of.Fields = r.Fields
	return of, client(r, of)
}

// only is the value of a header that the asking proxy must have set, once.
func only(r *h1.Request, name string) (string, *fault.Error) {
	v := r.Fields.Values(name)
	if len(v) != 1 || strings.TrimSpace(v[0]) == "" {
		return "", fault.Newf(fault.InvalidRequest, "The asking proxy must set the header %s, once.", name)
	}
	return strings.TrimSpace(v[0]), nil
}

// client makes the last address of X-Forwarded-For, which the asking proxy has appended, the
// peer of the request. Where that is a trusted proxy, too, the gate goes on with the rest.
func client(r, of *h1.Request) *fault.Error {
	const name = "X-Forwarded-For"
	chain := strings.Join(r.Fields.Values(name), ",")
	at := strings.LastIndexByte(chain, ',')
	last := strings.TrimSpace(chain[at+1:])
	addr, ok := admit.ReadAddress(last)
	if !ok {
		return fault.Newf(fault.InvalidRequest, "The asking proxy must set the header %s to the client's address.", name)
	}
	of.Remote = netip.AddrPortFrom(addr, 0).String()
	of.Fields = h1.FieldsOf(r.Fields.Header()) // r's own must not change
	of.Fields.Set(name, strings.TrimSpace(chain[:max(at, 0)]))
	return nil
}
