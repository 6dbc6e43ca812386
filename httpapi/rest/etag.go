package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// etag writes the Raft index of a resource's last change as its entity tag.
func etag(index uint64) string { return `"` + strconv.FormatUint(index, 10) + `"` }

// maxTags bounds the entity tags of one If-Match.
const maxTags = 16

// IfMatch reads If-Match (RFC 9110, 13.1.1): the index that the target must
// have, 0 for any. Where the client lists several tags, current returns
// the one that may still hold; apply then compares with that one. Weak tags never
// match.
func (c *Call) IfMatch(current func() (uint64, error)) (uint64, error) {
	tags, err := ifMatch(c.Request.Header)
	if err != nil || len(tags) == 0 {
		return 0, err
	}
	if len(tags) == 1 {
		return tags[0], nil
	}
	now, err := current()
	if err != nil {
		return 0, err
	}
	if !slices.Contains(tags, now) {
		return 0, fault.New(fault.PreconditionFailed)
	}
	return now, nil
}

// hasTag reports whether the client of a GET has the resource with index as it is now: h's
// If-None-Match names its tag, weak or not, or any (RFC 9110, 13.1.2).
func hasTag(h http.Header, index uint64) bool {
	list := strings.Join(h.Values("If-None-Match"), ",")
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for tag := range strings.SplitSeq(list, ",") { // ours hold no comma
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == etag(index) {
			return true
		}
	}
	return false
}

// conditions refuses the preconditions that this change would ignore: their sender believes
// that it is not made otherwise.
func (c *Call) conditions() *fault.Error {
	h := c.Request.Header
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if len(h.Values(name)) > 0 {
			return fault.Newf(fault.InvalidRequest, "%s is not supported by calls that change something; use If-Match with an ETag. Nothing was changed.", name)
		}
	}
	if len(h.Values("If-Match")) > 0 && !c.Route.Tagged {
		return fault.Newf(fault.InvalidRequest, "If-Match: this call is not about one resource with an ETag; leave it out. Nothing was changed.")
	}
	return nil
}

// ifMatch lists the tags of h's If-Match that can hold; none is any.
func ifMatch(h http.Header) (tags []uint64, err error) {
	lines := h.Values("If-Match")
	rest := strings.TrimSpace(strings.Join(lines, ","))
	if len(lines) == 0 || rest == "*" {
		return nil, nil
	}
	for n := 0; rest != ""; n++ {
		rest = strings.TrimLeft(rest, ", \t")
		weak := strings.HasPrefix(rest, "W/")
		rest = strings.TrimPrefix(rest, "W/")
		if rest == "" {
			break
		}
		end := -1
		if rest[0] == '"' {
			end = strings.IndexByte(rest[1:], '"')
		}
		if end < 0 || n == maxTags {
			return nil, fault.Newf(fault.InvalidRequest, "If-Match: must be at most %d entity tags in quotes, as ETag shows them, or *.", maxTags)
		}
		n, err := strconv.ParseUint(rest[1:end+1], 10, 64)
		if err == nil && n != 0 && !weak && etag(n) == rest[:end+2] && !slices.Contains(tags, n) {
			tags = append(tags, n)
		}
		rest = rest[end+2:]
	}
	if len(tags) == 0 {
		return nil, fault.New(fault.PreconditionFailed)
	}
	return tags, nil
}
