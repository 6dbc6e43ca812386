package admit

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

const (
	vector  = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	badSum  = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KY"
	foreign = "sk-proj-abcdef,ghijkl"
)

func TestPresent(t *testing.T) {
	lines := func(v ...string) http.Header { return http.Header{"Authorization": v} }
	own := func(v ...string) http.Header { return http.Header{"X-Api-Key": v} }
	for _, c := range []struct {
		name  string
		h     http.Header
		query string
		key   string
		want  fault.Code
	}{
		{"nothing", nil, "", "", fault.MissingKey},
		{"an empty header", lines(""), "", "", fault.MissingKey},
		{"a scheme with nothing behind", lines("Bearer"), "", "", fault.MissingKey},
		{"and a space", lines("Bearer "), "", "", fault.MissingKey},
		{"bearer", lines("Bearer " + vector), "", vector, ""},
		{"any case", lines("bEARER " + vector), "", vector, ""},
		{"white space around", lines(" \tBearer   " + vector + "\t "), "", vector, ""},
		{"no scheme", lines(vector), "", "", fault.MalformedKey},
		{"basic", lines("Basic dXNlcjpwYXNz"), "", "", fault.MalformedKey},
		{"digest, whose parameters have commas", lines(`Digest username="a", realm="b"`), "", "", fault.MalformedKey},
		{"bearer glued", lines("Bearer:" + vector), "", "", fault.MalformedKey},
		{"two lines", lines("Bearer "+vector, "Bearer "+vector), "", "", fault.AmbiguousCredentials},
		{"two lines, one empty", lines("Bearer "+vector, ""), "", "", fault.AmbiguousCredentials},
		{"joined", lines("Bearer " + vector + ", Bearer " + badSum), "", "", fault.AmbiguousCredentials},
		{"joined without space", lines("Bearer " + vector + ",Bearer " + vector), "", "", fault.AmbiguousCredentials},
		{"joined to another scheme", lines("Basic dXNlcjpwYXNz, Bearer " + vector), "", "", fault.AmbiguousCredentials},
		{"another scheme joined to it", lines("Bearer " + vector + ", Basic dXNlcjpwYXNz"), "", "", fault.AmbiguousCredentials},
		{"keys joined", lines("Bearer " + vector + "," + vector), "", "", fault.AmbiguousCredentials},
		{"an empty list element", lines("Bearer " + vector + ","), "", vector + ",", ""},
		{"a comma inside an imported key", lines("Bearer " + foreign), "", foreign, ""},

		{"own header", own(vector), "", vector, ""},
		{"own header, white space", own(" " + vector + " "), "", vector, ""},
		{"own header, empty", own(""), "", "", fault.MissingKey},
		{"own header twice", own(vector, vector), "", "", fault.AmbiguousCredentials},
		{"own header joined", own(foreign + ", " + foreign), "", "", fault.AmbiguousCredentials},
		{"both headers", http.Header{"X-Api-Key": {vector}, "Authorization": {"Bearer " + vector}}, "", "", fault.AmbiguousCredentials},
		{"both, one of another scheme", http.Header{"X-Api-Key": {vector}, "Authorization": {"Basic eA=="}}, "", "", fault.AmbiguousCredentials},
		{"another header", http.Header{"X-Key": {vector}}, "", "", fault.MissingKey},

		{"in the query alone", nil, "key=" + vector, "", fault.KeyInQuery},
		{"in the query too", lines("Bearer " + vector), "a=b&access_token=" + vector, "", fault.KeyInQuery},
		{"in the query beside a bad scheme", lines("Basic eA=="), "k=" + vector, "", fault.KeyInQuery},
		{"two credentials and one in the query", lines("Bearer x", "Bearer y"), "k=" + vector, "", fault.AmbiguousCredentials},
	} {
		key, got := present(fields(c.h), c.query, "X-Api-Key")
		if key != c.key || got != c.want {
			t.Errorf("%s: %q %q, want %q %q", c.name, key, got, c.key, c.want)
		}
	}
	if _, got := present(fields(own(vector)), "", ""); got != fault.MissingKey {
		t.Errorf("a header that is not configured was read: %q", got)
	}
}

func TestKeyInQuery(t *testing.T) {
	escapeAll := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			b.WriteString("%" + string("0123456789abcdef"[s[i]>>4]) + string("0123456789ABCDEF"[s[i]&15]))
		}
		return b.String()
	}
	for q, want := range map[string]bool{
		"":                                  false,
		"q=" + vector:                       true,
		vector:                              true,
		vector + "=1":                       true,
		"a&b=&c=" + vector + "&d":           true,
		"a=1;b=" + vector:                   true,
		"q=" + escapeAll(vector):            true,
		"q=%70k_live_" + vector[8:]:         true,
		"q=" + badSum:                       false,
		"q=" + vector + "x":                 true,
		"q=" + vector + ",":                 true,
		"q=x" + vector:                      true,
		"q=Bearer%20" + vector:              true,
		"q=" + escapeAll(escapeAll(vector)): true,
		"q=pk%255flive_" + vector[8:]:       true,
		"q=" + vector[:len(vector)-1]:       false,
		"q=" + vector[:45] + "%5":           false,
		"q=" + vector[:45] + "%zz":          false,
		"q=" + strings.Repeat("pk_", 100):   false,
		"q=" + strings.Repeat("%", 100):     false,
	} {
		if got := KeyInQuery(q); got != want {
			t.Errorf("KeyInQuery(%q) = %v", q, got)
		}
	}
}

// The scan finds every key that net/url finds.
func TestKeyInQueryIsLikeParseQuery(t *testing.T) {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{vector, badSum, "pk_", "%70", "%", "%5", "=", "&", "x", "%26", url.QueryEscape(vector), strings.ReplaceAll(vector, "_", "%5F")}),
		rapid.StringMatching(`[a-z=&%0-9]{0,4}`))
	rapid.Check(t, func(t *rapid.T) {
		q := strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "")
		values, err := url.ParseQuery(q)
		if err != nil {
			return // net/url drops pairs that it cannot read; the scan takes them literally
		}
		want := false
		for name, list := range values {
			for _, s := range append(list, name) {
				want = want || apikey.Holds(s)
			}
		}
		if got := KeyInQuery(q); want && !got {
			t.Fatalf("KeyInQuery(%q) = %v, want %v", q, got, want)
		}
	})
}

// imports is a store in which keys with these prefixes were imported.
type imports map[string]bool

func (i imports) Imported(prefix string) bool               { return i[prefix] }
func (imports) Lookup(store.Hash) (*store.Record, error)    { panic("looks a key up to judge its form") }
func (imports) Peppers() store.Peppers                      { return store.Peppers{Current: store.Hash{7}} }
func (imports) BootIndex() uint64                           { return 0 }
func (imports) Cell(store.AccountID) *store.Cell            { panic("reads no account") }
func (imports) Detail(*store.Record) (*store.Detail, error) { panic("reads the details of no key") }

func TestCredentialForms(t *testing.T) {
	for _, c := range []struct {
		name, key string
		imported  string // a prefix
		want      fault.Code
	}{
		{"native", vector, "", ""},
		{"bad sum", badSum, "", fault.MalformedKey},
		{"bad sum, its prefix was imported", badSum, "pk_live_", ""},
		{"bad sum, the other type's was", badSum, "pk_test_", fault.MalformedKey},
		{"bad sum, a foreign one was", badSum, apikey.Prefix(foreign), fault.MalformedKey},
		{"bad sum, one of unknown form was", badSum, store.AnyPrefix, fault.MalformedKey},
		{"foreign", foreign, "", fault.MalformedKey},
		{"foreign, its prefix was imported", foreign, apikey.Prefix(foreign), ""},
		{"foreign, another was", foreign, "zz_", fault.MalformedKey},
		{"foreign, ours was", foreign, "pk_live_", fault.MalformedKey},
		{"foreign, one of unknown form was", foreign, store.AnyPrefix, ""},
		{"too short", "pk_live_short", "pk_live_", fault.MalformedKey},
		{"a space inside", "pk_live_0123456789 ABCDEF", store.AnyPrefix, fault.MalformedKey},
	} {
		h := http.Header{"Authorization": {"Bearer " + c.key}}
		by := &hashers{current: apikey.NewHasher([32]byte{7})} // a key that was hashed once is not judged again
		key, got := credential(fields(h), "", "", imports{c.imported: true}, by)
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if want := apikey.Hash([32]byte{7}, c.key); got == "" && key.hash != want {
			t.Errorf("%s: wrong hash", c.name)
		}
	}
}

// For any input, the answer is one of the four codes or the hash of something
// that was sent, and a hint never shows more than its own few characters.
func FuzzCredential(f *testing.F) {
	f.Add("Bearer "+vector, "", "a=b")
	f.Add("Bearer "+vector+", Bearer x", vector, "k="+vector)
	f.Add("Basic ,Bearer ,", "", "%70k_live_")
	by := &hashers{current: apikey.NewHasher([32]byte{7})}
	f.Fuzz(func(t *testing.T, authorization, own, query string) {
		h := http.Header{}
		if authorization != "" {
			h["Authorization"] = []string{authorization}
		}
		if own != "" {
			h["X-Api-Key"] = []string{own}
		}
		s, refused := credential(fields(h), query, "X-Api-Key", imports{"pk_live_": true, "pk_test_": true, store.AnyPrefix: true}, by)
		switch refused {
		case "":
			key, _ := present(fields(h), query, "X-Api-Key")
			if !strings.Contains(authorization+" "+own, key) || s.hash != apikey.Hash([32]byte{7}, key) {
				t.Fatalf("%q was looked up for %q, %q", key, authorization, own)
			}
			if authorization != "" && own != "" && trim(own) != "" {
				t.Fatalf("one of two credentials was chosen: %q, %q", authorization, own)
			}
		case fault.MissingKey, fault.AmbiguousCredentials, fault.KeyInQuery, fault.MalformedKey:
		default:
			t.Fatalf("refused with %q", refused)
		}
		if got := hint(fields(h), query, "X-Api-Key"); len(got) > len("pk_live_0123…STUV") {
			t.Fatalf("hint %q", got)
		}
	})
}

func BenchmarkKeyInQuery(b *testing.B) {
	const q = "model=gpt-4o&stream=true&temperature=0.7&user=somebody%40example.org&page=17&sort=created_at"
	b.ReportAllocs()
	for b.Loop() {
		if KeyInQuery(q) {
			b.Fatal("found one")
		}
	}
}
