package peers

import (
	"fmt"
	"testing"
)

// The upstream sees the end of a body wherever it is divided.
func TestUpstreamBodies(t *testing.T) {
	for _, c := range []struct{ head, body string }{
		{"Transfer-Encoding: chunked\r\n", "10\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"},
		{"content-length: 20\r\n", "xxxxxxxxxxxxxxxxxxxx"},
		{"Content-Length: 0\r\n", ""},
	} {
		for cut := range len(c.body) + 1 {
			conn := &upConn{}
			conn.begin([]byte("POST /1k HTTP/1.1\r\nHost: a\r\n" + c.head))
			for i, part := range []string{c.body[:cut], c.body[cut:]} {
				rest := conn.body([]byte(part))
				ended := conn.left == 0 && !conn.chunked
				if len(rest) > 0 || ended != (i == 1 || cut == len(c.body)) {
					t.Errorf("%q, cut at %d, part %d: ended %t, rest %q", c.body, cut, i, ended, rest)
				}
			}
		}
	}
}

// A ratio is the median of the rounds' ratios, not the ratio of medians.
func TestRatio(t *testing.T) {
	var s series
	for i, v := range []float64{10, 20, 40} {
		s.add("a", v, 0)
		s.add("b", []float64{10, 5, 20}[i], 0)
	}
	if got := s.ratio("a", "b"); got != "2.00" {
		t.Error(got)
	}
	s.add("a", 1, 0)
	s.add("b", -1, 0)
	if got := s.ratio("a", "b"); got != "" {
		t.Errorf("of a negative difference: %s", got)
	}
	if got := fmt.Sprint(s.ratio("a", "none"), median([]float64{4, 1, 3, 2})); got != "2.5" {
		t.Error(got)
	}
}
