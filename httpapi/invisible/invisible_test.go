package invisible_test

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/invisible"
)

func TestIn(t *testing.T) {
	for _, c := range []struct{ text, except, want string }{
		{"", "", ""},
		{"Ada Lovelace – naïve 数据 𝕏", "", ""},
		{"a\u00a0b\u2003c", "", ""},  // spaces have a width
		{"می\u200cخواهم", "", ""},    // Persian needs the non-joiner
		{"👩\u200d💻 ❤\ufe0f", "", ""}, // and emoji the joiner
		{"שלום عربي", "", ""},
		{"a\tb", "", "U+0009"},
		{"a\tb\n\r", "\t\n\r", ""},
		{"a\tb\x00", "\t\n\r", "U+0000"},
		{"a\u0085", "", "U+0085"},
		{"a\x7f", "", "U+007F"},
		{"a\x1b[2J", "", "U+001B"},
		{"adm\u200bin", "", "U+200B"},
		{"\ufeffadmin", "", "U+FEFF"},
		{"admin\u2060", "", "U+2060"},
		{"ad\u00admin", "", "U+00AD"},
		{"adm\u200din", "", "U+200D"},
		{"\u200cadmin", "", "U+200C"},
		{"admin\ufe0f", "", "U+FE0F"},
		{"a\u200eb", "", "U+200E"},
		{"a\u202eb", "", "U+202E"},
		{"a\u2066b", "", "U+2066"},
		{"a\u061cb", "", "U+061C"},
		{"a\u2028b", "", "U+2028"},
		{"a\u3164", "", "U+3164"},
		{"a\u034f", "", "U+034F"},
		{"a\U000e0041", "", "U+E0041"},
		{"a\u180e", "", "U+180E"},
	} {
		if got := invisible.In(c.text, c.except); got != c.want {
			t.Errorf("%+q but %+q: %q, want %q", c.text, c.except, got, c.want)
		}
	}
}
