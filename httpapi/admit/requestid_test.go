package admit

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

func TestRequestID(t *testing.T) {
	key := apikey.New(apikey.LivePrefix)
	for id, kept := range map[string]bool{
		"a": true, "A-1_b.c": true, "...": true, strings.Repeat("x", 128): true,
		"": false, "a b": false, strings.Repeat("x", 129): false, "ü": false, "a/b": false, "<script>": false, "a\n": false,
		key: false, "a." + key: false, key + "-1": false, "x" + key + "x": false, key[:len(key)-1]: true,
	} {
		got := RequestID([]string{id})
		if (got == id) != kept {
			t.Errorf("id %q became %q", id, got)
		}
		if !IsToken(got) {
			t.Errorf("id %q became %q, which is not a token (RFC 9110)", id, got)
		}
	}
	two := []string{"a", "b"}
	if got, again := RequestID(two), RequestID(two); got == "a" || got == "b" || got == again {
		t.Errorf("two ids became %q and %q, want a new one each time", got, again)
	}
}
