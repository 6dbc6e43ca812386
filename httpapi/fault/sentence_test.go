package fault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Messages are sentences of their own: they end like one, say something that no
// other code says, and show no Go value that was not filled in.
func TestSentences(t *testing.T) {
	seen := map[string]Code{}
	for _, c := range Codes() {
		s := New(c).Sentence()
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s say the same: %q", c, other, s)
		}
		seen[s] = c
		if ends := strings.HasSuffix(s, "."); ends == (c.Status() == http.StatusTooManyRequests) {
			t.Errorf("%s: %q must end with a full stop, unless it is a 429, which clients match", c, s)
		}
		if strings.Contains(s, "%") {
			t.Errorf("%s: %q has a verb", c, s)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	cause := errors.New("disk on fire")
	for _, c := range []struct {
		e              *Error
		sentence, text string
	}{
		{New(KeyRevoked), "The API key has been revoked.", "key_revoked: The API key has been revoked."},
		{Newf(InvalidValue, "units: must be 0 to %d.", 5), "units: must be 0 to 5.", "invalid_value: units: must be 0 to 5."},
		{Wrap(KeyRevoked, cause), "The API key has been revoked.", "key_revoked: The API key has been revoked.: disk on fire"},
	} {
		if c.e.Sentence() != c.sentence || c.e.Error() != c.text {
			t.Errorf("%q, %q; must be %q, %q", c.e.Sentence(), c.e.Error(), c.sentence, c.text)
		}
	}
	if !errors.Is(fmt.Errorf("call: %w", Wrap(Unavailable, cause)), cause) {
		t.Error("the cause is not found in a wrapped fault")
	}
}

// Headers that a fault has no value for are absent, rather than empty or 0.
func TestWriteLeavesOut(t *testing.T) {
	for _, c := range []struct {
		e       *Error
		present string
	}{
		{New(NotFound), ""},
		{&Error{Code: Unavailable, RetryAfter: 1}, "Retry-After"},
		{&Error{Code: MethodNotAllowed, Allow: "GET"}, "Allow"},
		{New(InvalidKey), "WWW-Authenticate"},
	} {
		resp := write("POST", "", c.e)
		for _, name := range []string{"Retry-After", "Allow", "WWW-Authenticate"} {
			if _, ok := resp.Header[http.CanonicalHeaderKey(name)]; ok != (name == c.present) {
				t.Errorf("%s: header %s is present: %v", c.e.Code, name, ok)
			}
		}
		if resp.StatusCode != c.e.Code.Status() {
			t.Errorf("%s: status %d", c.e.Code, resp.StatusCode)
		}
	}
}
