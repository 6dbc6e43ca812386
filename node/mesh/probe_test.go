package mesh

import (
	"net"
	"testing"
)

// A probe tells a running node of the cluster from everything else, without a
// certificate of its own.
func TestProbe(t *testing.T) {
	ours, others := newAuthority(t, "cl_1"), newAuthority(t, "cl_2")
	member := start(t, ours, "aa")
	stranger := start(t, others, "bb")
	alone := start(t, nil, "cc")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	for _, c := range []struct{ name, addr, want string }{
		{"a member", member.Addr().String(), "aa"},
		{"a node of another cluster", stranger.Addr().String(), ""},
		{"a node without a cluster", alone.Addr().String(), ""},
		{"nobody", nobody, ""},
	} {
		got, err := Probe(t.Context(), c.addr, "cl_1", [][]byte{ours.cert})
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; must be %q", c.name, got, err, c.want)
		}
	}
	// The same authority for another cluster proves nothing.
	if got, err := Probe(t.Context(), member.Addr().String(), "cl_2", [][]byte{ours.cert}); err == nil {
		t.Errorf("the member of another cluster: %q", got)
	}
}
