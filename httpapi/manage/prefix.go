package manage

import (
	"net/netip"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/iprange"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// cidr is a prefix as people write it: one address stands without a length.
type cidr netip.Prefix

// AppendText implements [encoding.TextAppender].
func (c cidr) AppendText(b []byte) ([]byte, error) {
	return iprange.Append(b, netip.Prefix(c)), nil
}

// MarshalText implements [encoding.TextMarshaler].
func (c cidr) MarshalText() ([]byte, error) { return c.AppendText(nil) }

// complaints collects the faults of the entries of a list.
type complaints struct{ faults fault.List }

// add notes that entry, which stands at place, is wrong for a reason. Place is the path
// of a member, or the number of a line.
func (c *complaints) add(place, entry string, reason error) {
	f := fault.Newf(fault.InvalidValue, "%s: %s %v.", place, rest.Quote(entry, 40), reason)
	if f.Param = place; !strings.HasPrefix(place, "line ") {
		f.Param = "/" + strings.ReplaceAll(place, ".", "/")
	}
	c.faults.Add(f)
}

func (c *complaints) err() error { return c.faults.Err() }
