package fault

import "testing"

// The weight of a media type is that of the most specific range that holds it, wherever
// that stands, and of the first of several such.
func TestAccepts(t *testing.T) {
	for _, tt := range []struct {
		accept []string
		weight float64
		named  bool
	}{
		{nil, 0, false},
		{[]string{"text/plain"}, 1, true},
		{[]string{"TEXT/Plain; charset=utf-8; q=0.25"}, 0.25, true},
		{[]string{"*/*;q=0.5"}, 0.5, false},
		{[]string{"text/*;q=0.5, */*"}, 0.5, false},
		{[]string{"*/*", "text/plain;q=0.1", "text/*"}, 0.1, true},
		{[]string{"text/plain;q=0.1, text/plain"}, 0.1, true},
		{[]string{"text/plain;q=0", "*/*"}, 0, true},
		{[]string{"text/plain;q=2"}, 1, true},
		{[]string{"text/plain;q=-1"}, 0, true},
		{[]string{"text/plain;q=much"}, 1, true},
		{[]string{"text/html, application/*, text/plainer"}, 0, false},
		{[]string{";, /, text/plain"}, 1, true},
	} {
		if weight, named := Accepts(tt.accept, "text/plain"); weight != tt.weight || named != tt.named {
			t.Errorf("%q: %v, named %v; want %v, %v", tt.accept, weight, named, tt.weight, tt.named)
		}
	}
}
