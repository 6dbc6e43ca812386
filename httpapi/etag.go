package httpapi

import (
	"slices"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// etag writes the Raft index of a resource's last change as its entity tag.
func etag(index uint64) string { return `"` + strconv.FormatUint(index, 10) + `"` }

// ifMatch reads If-Match (RFC 9110, 13.1.1): the index that the target must
// have, 0 to not ask. Where the client lists several tags, current tells which
// of them may still hold; apply then compares with that one. Weak tags never
// match.
func (c *call) ifMatch(current func() (uint64, error)) (uint64, error) {
	lines := c.r.Header.Values("If-Match")
	if len(lines) == 0 {
		return 0, nil
	}
	var tags []uint64
	rest := strings.TrimSpace(strings.Join(lines, ","))
	if rest == "*" {
		return 0, nil
	}
	for rest != "" {
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
		if end < 0 {
			return 0, fault.Newf(fault.InvalidRequest, `If-Match: want entity tags in quotes, as ETag shows them, or *.`)
		}
		n, err := strconv.ParseUint(rest[1:end+1], 10, 64)
		if err == nil && n != 0 && !weak && etag(n) == rest[:end+2] {
			tags = append(tags, n)
		}
		rest = rest[end+2:]
	}
	switch {
	case len(tags) == 0:
		return 0, fault.New(fault.PreconditionFailed)
	case len(tags) == 1 || current == nil:
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
