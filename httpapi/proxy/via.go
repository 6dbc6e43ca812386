package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// via is this node's part in the Via header (RFC 9110 section 7.6.3), which names
// the intermediaries that a request went through. A request that has been here
// before would come here again, each time with two connections more.
type via struct {
	name   string    // of this node, the received-by
	values [2]string // what it adds to a request of HTTP/1.1 and of HTTP/2
}

// newVia returns the part of the node with the id; "" makes one up. The id itself
// is not shown to upstreams.
func newVia(node string) via {
	if node == "" {
		node = rand.Text()
	}
	sum := sha256.Sum256([]byte("via " + node))
	name := "perfgate-" + hex.EncodeToString(sum[:8])
	return via{name, [2]string{"1.1 " + name, "2.0 " + name}}
}

// of is what this node adds to a request that was received by HTTP version major.
func (v *via) of(major int) string {
	if major == 2 {
		return v.values[1]
	}
	return v.values[0]
}

// loops reports whether this node is among lines, the Via of a request. A comment
// that contains a comma may be read as one more member, which then names no node.
func (v *via) loops(lines []string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if f := strings.Fields(member); len(f) >= 2 && f[1] == v.name {
				return true
			}
		}
	}
	return false
}
