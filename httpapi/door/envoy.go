package door

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	types "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/proxy"
)

// maxHead bounds the head of a request that is asked about, in bytes, as the listeners bound
// their own.
const maxHead = 32 << 10

// identity begins the names of the headers for the upstream; all others of a decision are
// for the client.
const identity = "X-Perf-"

// checks implements Envoy's external authorization.
type checks struct {
	auth.UnimplementedAuthorizationServer
	by *GRPC
}

// Check decides about one request. A message that tells of none is answered as a refusal and
// not as an error: Envoy may be configured to let requests pass on errors.
func (c checks) Check(ctx context.Context, q *auth.CheckRequest) (*auth.CheckResponse, error) {
	to, err := c.by.deciders()
	if err != nil {
		return nil, err
	}
	of, f := asked(q.GetAttributes())
	if f != nil {
		return denied(refusal(f, &of.Fields)), nil
	}
	d := to.decider.Decide(ctx, of, admit.RequestID(of.Fields.Values(fault.RequestIDHeader)))
	if d.Status != http.StatusOK {
		return denied(d), nil
	}
	return allowed(d), nil
}

// asked is the request that Envoy tells of. Its peer is the one that Envoy has a connection
// with; the gate reads the headers of trusted proxies as for requests of its own. With a
// fault it has the fields alone.
func asked(a *auth.AttributeContext) (*h1.Request, *fault.Error) {
	of := new(h1.Request)
	in := a.GetRequest().GetHttp()
	if in == nil {
		return of, fault.Newf(fault.InvalidRequest, "The message tells of no HTTP request; configure perfgate for the HTTP filter ext_authz.")
	}
	var f *fault.Error
	if of.Fields, f = fieldsOf(in); f != nil {
		return of, f
	}
	at := a.GetSource().GetAddress().GetSocketAddress()
	peer, ok := admit.ReadAddress(at.GetAddress())
	if !ok {
		return of, fault.Newf(fault.InvalidRequest, "The message has no IP address of the client; Envoy must accept requests from a TCP socket.")
	}
	if in.GetMethod() == "" || in.GetHost() == "" {
		return of, fault.Newf(fault.InvalidRequest, "The message has no method, or no host.")
	}
	if len(in.GetPath()) > admit.MaxTarget {
		return of, fault.New(fault.URITooLong)
	}
	r, ok := admit.RequestFor(in.GetMethod(), in.GetHost(), in.GetPath())
	if !ok {
		return of, fault.New(fault.InvalidRequest)
	}
	r.Major, r.Minor, r.Secure, r.Fields = 1, 1, in.GetScheme() == "https", of.Fields
	r.Remote = net.JoinHostPort(peer.String(), strconv.Itoa(int(at.GetPortValue())))
	return r, nil
}

// fieldsOf are the header fields that Envoy tells of, line by line if it is configured to
// (encode_raw_headers), else with the lines of each name joined.
func fieldsOf(in *auth.AttributeContext_HttpRequest) (out h1.Fields, f *fault.Error) {
	size := len(in.GetPath()) + len(in.GetHost())
	add := func(name, value string) bool {
		size += len(name) + len(value) + len(": \r\n")
		switch {
		case strings.HasPrefix(name, ":"): // of HTTP/2, and has a member of its own
			return true
		case !httpguts.ValidHeaderFieldName(name), !httpguts.ValidHeaderFieldValue(value):
			return false
		}
		out.Add(http.CanonicalHeaderKey(name), strings.Trim(value, " \t"))
		return true
	}
	sound := true
	for _, h := range in.GetHeaderMap().GetHeaders() {
		value := h.GetValue()
		if raw := h.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		sound = add(h.GetKey(), value) && sound
	}
	if in.GetHeaderMap() == nil {
		for name, value := range in.GetHeaders() {
			sound = add(name, value) && sound
		}
	}
	out.Del("Host")
	switch {
	case size > maxHead:
		return out, fault.New(fault.HeadersTooLarge)
	case !sound:
		return out, fault.New(fault.InvalidRequest)
	}
	return out, nil
}

// allowed passes the identity on to the upstream, in the place of the client's credential,
// and the limits to the client.
func allowed(d *proxy.Decision) *auth.CheckResponse {
	ok := &auth.OkHttpResponse{HeadersToRemove: d.Withheld}
	for _, name := range proxy.OwnHeaders { // Envoy may be configured not to tell of them
		if !d.Fields.Has(name) && !slices.Contains(ok.HeadersToRemove, name) {
			ok.HeadersToRemove = append(ok.HeadersToRemove, name)
		}
	}
	for name, value := range d.Fields.All() {
		if strings.HasPrefix(name, identity) {
			ok.Headers = append(ok.Headers, option(name, value))
			continue
		}
		if name == fault.RequestIDHeader {
			ok.Headers = append(ok.Headers, option(name, value))
		}
		ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, option(name, value))
	}
	return &auth.CheckResponse{Status: &status.Status{Code: int32(codes.OK)}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}
}

// denied has the answer that the client would get from the proxy.
func denied(d *proxy.Decision) *auth.CheckResponse {
	no := &auth.DeniedHttpResponse{Status: &types.HttpStatus{Code: types.StatusCode(d.Status)}, Body: string(d.Body)}
	for name, value := range d.Fields.All() {
		no.Headers = append(no.Headers, option(name, value))
	}
	code := codes.PermissionDenied
	switch d.Status {
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	}
	return &auth.CheckResponse{Status: &status.Status{Code: int32(code)}, HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: no}}
}

// option sets a header, in the place of any of that name.
func option(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: strings.ToLower(name), Value: value}, AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}
}

// refusal answers f to a request with these fields.
func refusal(f *fault.Error, fields *h1.Fields) *proxy.Decision {
	id := admit.RequestID(fields.Values(fault.RequestIDHeader))
	out := admit.RenderFault(f, id, fields.Values("Accept"))
	d := &proxy.Decision{Status: out.Status, Body: out.Body}
	d.Fields.Add(fault.RequestIDHeader, id)
	for _, field := range out.Fields {
		d.Fields.Add(field.Name, field.Value)
	}
	return d
}
