package config

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"listen", "data_dir", "region", "name", "upstream", "kez", "key", strings.Repeat("a", maxName+1)}
	for in, want := range map[string]string{
		"listn": "listen", "lisetn": "listen", "listten": "listen", "Listen": "listen", "datadir": "data_dir", "nmae": "name", "upstreem": "upstream", "upstreams": "upstream",
		"": "", "x": "", "lost": "", "timeout": "", strings.Repeat("listen", 100): "",
		"KE-Z": "kez", "kex": "kez", "ke": "", "k": "", // the first of two; of a name that short every character counts
		"upxxream": "upstream", "upxxxeam": "", "upxtrexx": "", // a third of eight characters is two
		strings.Repeat("a", maxName): "", strings.Repeat("a", maxName+1): "",
	} {
		if got := nearest(in, names); got != want {
			t.Errorf("%q is taken for %q, want %q", in, got, want)
		}
	}
}

// The distance is that of its definition, for all pairs of short words.
func TestDistance(t *testing.T) {
	words := []string{""}
	for i := 0; len(words[i]) < 4; i++ {
		words = append(words, words[i]+"a", words[i]+"b", words[i]+"c")
	}
	for _, a := range words {
		for _, b := range words {
			if got, want := distance(a, b), edits(a, b); got != want {
				t.Fatalf("%q and %q: %d, want %d", a, b, got, want)
			}
		}
	}
	long := strings.Repeat("a", maxName)
	if got := distance(long, long[1:]); got != 1 {
		t.Errorf("of the longest names: %d", got)
	}
	if got := distance(long+"a", long); got <= maxName {
		t.Errorf("names that are too long to be compared: %d", got)
	}
}

// edits is the least number of edits that turn a into b, by what is done at the first
// characters.
func edits(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	least := 1 + min(edits(a[1:], b), edits(a, b[1:]), edits(a[1:], b[1:]))
	if a[0] == b[0] {
		least = min(least, edits(a[1:], b[1:]))
	}
	if len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] {
		least = min(least, 1+edits(a[2:], b[2:]))
	}
	return least
}
