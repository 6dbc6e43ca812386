package door

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	types "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
)

// maxDescriptors bounds the descriptors of one question. Each may wait for other nodes.
const maxDescriptors = 16

// The entries of a descriptor that tells of a request: those that Envoy's actions make of
// these names.
const (
	entryCredential = "authorization"
	entryMethod     = "method"
	entryPath       = "path"
	entryHost       = "host"
	entryClient     = "remote_address"
)

// limits implements Envoy's rate limit service.
type limits struct {
	rls.UnimplementedRateLimitServiceServer
	by *GRPC
}

// ShouldRateLimit judges each descriptor by itself, as Envoy's own service does. One with a
// credential tells of a request, about which the proxy decides; one with a limit is a bucket
// of its own, like those of POST /v1/ratelimit; one with neither has no limit.
func (l limits) ShouldRateLimit(ctx context.Context, q *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	to, err := l.by.deciders()
	if err != nil {
		return nil, err
	}
	if n := len(q.GetDescriptors()); n > maxDescriptors {
		return nil, status.Errorf(codes.InvalidArgument, "%d descriptors; send at most %d", n, maxDescriptors)
	}
	out := &rls.RateLimitResponse{OverallCode: rls.RateLimitResponse_OK}
	for _, d := range q.GetDescriptors() {
		var one *rls.RateLimitResponse_DescriptorStatus
		switch {
		case has(d, entryCredential):
			one = l.request(ctx, to.decider, d, out)
		case d.GetLimit() != nil:
			if one, err = l.bucket(to.limiter, q, d); err != nil {
				return nil, err
			}
		default:
			one = &rls.RateLimitResponse_DescriptorStatus{Code: rls.RateLimitResponse_OK}
		}
		if one.Code == rls.RateLimitResponse_OVER_LIMIT {
			out.OverallCode = one.Code
		}
		out.Statuses = append(out.Statuses, one)
	}
	return out, nil
}

// request has the proxy decide. Envoy can only be told that a limit is exceeded: whatever
// else refuses the request is told so, too, with the real status in a header.
func (l limits) request(ctx context.Context, by Decider, d *descriptor.RateLimitDescriptor, out *rls.RateLimitResponse) *rls.RateLimitResponse_DescriptorStatus {
	of, f := described(d)
	var a *proxy.Decision
	if f != nil {
		a = refusal(f, &of.Fields)
	} else {
		a = by.Decide(ctx, of, admit.RequestID(nil))
	}
	one := &rls.RateLimitResponse_DescriptorStatus{Code: rls.RateLimitResponse_OK}
	if a.Status != http.StatusOK {
		one.Code, out.RawBody = rls.RateLimitResponse_OVER_LIMIT, a.Body
		a.Fields.Set(headerStatus, strconv.Itoa(a.Status))
	}
	for name, value := range a.Fields.All() {
		h := &core.HeaderValue{Key: strings.ToLower(name), Value: value}
		if strings.HasPrefix(name, identity) && name != headerStatus {
			out.RequestHeadersToAdd = append(out.RequestHeadersToAdd, h)
		} else {
			out.ResponseHeadersToAdd = append(out.ResponseHeadersToAdd, h)
		}
	}
	return one
}

// described is the request that a descriptor tells of. Each entry must be there, once.
func described(d *descriptor.RateLimitDescriptor) (*h1.Request, *fault.Error) {
	entries := map[string]string{}
	size := 0
	for _, e := range d.GetEntries() {
		if _, twice := entries[e.GetKey()]; twice {
			return new(h1.Request), fault.Newf(fault.InvalidRequest, "The descriptor has two entries %q.", e.GetKey())
		}
		entries[e.GetKey()] = e.GetValue()
		size += len(e.GetKey()) + len(e.GetValue())
	}
	for _, name := range []string{entryMethod, entryHost, entryPath, entryClient} {
		if entries[name] == "" {
			return new(h1.Request), fault.Newf(fault.InvalidRequest, "The descriptor has the entry %q, so it must have %q, too.", entryCredential, name)
		}
	}
	peer, ok := admit.ReadAddress(entries[entryClient])
	switch {
	case !ok:
		return new(h1.Request), fault.Newf(fault.InvalidRequest, "The entry %q must be an IP address.", entryClient)
	case len(entries[entryPath]) > admit.MaxTarget:
		return new(h1.Request), fault.New(fault.URITooLong)
	case size > maxHead:
		return new(h1.Request), fault.New(fault.HeadersTooLarge)
	}
	r, ok := admit.RequestFor(entries[entryMethod], entries[entryHost], entries[entryPath])
	if !ok {
		return new(h1.Request), fault.New(fault.InvalidRequest)
	}
	r.Major, r.Minor, r.Remote = 1, 1, net.JoinHostPort(peer.String(), "0")
	r.Fields.Add("Authorization", entries[entryCredential])
	return r, nil
}

// bucket charges the bucket that a descriptor names and states the limit of. Domain and entries
// are its name; it is one of the account "default".
func (l limits) bucket(by Limiter, q *rls.RateLimitRequest, d *descriptor.RateLimitDescriptor) (*rls.RateLimitResponse_DescriptorStatus, error) {
	window, unit, err := windowOf(d.GetLimit())
	if err != nil {
		return nil, err
	}
	units := max(1, int64(q.GetHitsAddend()))
	if h := d.GetHitsAddend(); h != nil {
		units = int64(min(h.GetValue(), math.MaxInt64))
	}
	if d.GetIsNegativeHits() {
		return nil, status.Error(codes.InvalidArgument, "perfgate takes no hits back; remove is_negative_hits")
	}
	limit := int64(d.GetLimit().GetRequestsPerUnit())
	out := &rls.RateLimitResponse_DescriptorStatus{
		Code:         rls.RateLimitResponse_OVER_LIMIT,
		CurrentLimit: &rls.RateLimitResponse_RateLimit{RequestsPerUnit: d.GetLimit().GetRequestsPerUnit(), Unit: unit, UnitMultiplier: d.GetLimit().GetUnitMultiplier()},
	}
	if units > limit {
		return out, nil // it would never pass; a limit of 0 refuses everything
	}
	now := time.Now()
	a, f := by.RateLimit(&admit.RateRequest{
		Namespace: q.GetDomain(), Identifier: nameOf(d), Limit: limit, Window: span.Format(window), Units: &units, Caller: store.DefaultAccount,
	}, now)
	if f != nil {
		code := codes.Unavailable
		if f.Code.Status() < 500 {
			code = codes.InvalidArgument
		}
		return nil, status.Error(code, f.Error())
	}
	if a.Allowed {
		out.Code = rls.RateLimitResponse_OK
	}
	out.LimitRemaining = uint32(max(0, min(a.Remaining, math.MaxUint32)))
	out.DurationUntilReset = durationpb.New(max(0, time.Unix(a.Reset, 0).Sub(now)))
	return out, nil
}

// windowOf is the window of a limit, in Go's and in the response's terms.
func windowOf(l *descriptor.RateLimitDescriptor_RateLimitOverride) (time.Duration, rls.RateLimitResponse_RateLimit_Unit, error) {
	units := map[types.RateLimitUnit]struct {
		length time.Duration
		unit   rls.RateLimitResponse_RateLimit_Unit
	}{
		types.RateLimitUnit_SECOND: {time.Second, rls.RateLimitResponse_RateLimit_SECOND},
		types.RateLimitUnit_MINUTE: {time.Minute, rls.RateLimitResponse_RateLimit_MINUTE},
		types.RateLimitUnit_HOUR:   {time.Hour, rls.RateLimitResponse_RateLimit_HOUR},
		types.RateLimitUnit_DAY:    {24 * time.Hour, rls.RateLimitResponse_RateLimit_DAY},
	}
	u, ok := units[l.GetUnit()]
	times := int64(1)
	if m := l.GetUnitMultiplier(); m != nil {
		times = int64(m.GetValue())
	}
	if !ok || times < 1 || times > int64(24*time.Hour/u.length) {
		return 0, 0, status.Errorf(codes.InvalidArgument, "the window of a limit must be one second to one day, not %d times %s", times, l.GetUnit())
	}
	return time.Duration(times) * u.length, u.unit, nil
}

// has reports whether a descriptor has an entry.
func has(d *descriptor.RateLimitDescriptor, key string) bool {
	for _, e := range d.GetEntries() {
		if e.GetKey() == key {
			return true
		}
	}
	return false
}

// nameOf is one name for the entries of a descriptor, in their order.
func nameOf(d *descriptor.RateLimitDescriptor) string {
	h := sha256.New()
	for _, e := range d.GetEntries() {
		fmt.Fprintf(h, "%d:%s%d:%s", len(e.GetKey()), e.GetKey(), len(e.GetValue()), e.GetValue())
	}
	return hex.EncodeToString(h.Sum(nil))
}
