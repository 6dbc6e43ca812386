package local

import (
	"bytes"
	"strings"
	"testing"
)

// The trail is the end of a value: an event of a version without it has none, and
// that version ignores it.
func TestTrailIsOptional(t *testing.T) {
	o := admitted(day0, "default", "key_a")
	bare := appendRequest(nil, o, true)
	bare = bare[:len(bare)-4] // as versions without a trail wrote it
	o.Trail = Trail{Path: "/p", Upstream: "http://u:1", Attempts: 3, Sent: 9, Errors: "timeout"}
	full := appendRequest(nil, o, true)
	if !bytes.HasPrefix(full, bare) || len(full) == len(bare) {
		t.Fatal("the trail does not follow the rest")
	}
	for name, v := range map[string][]byte{"bare": bare, "full": full} {
		r, err := parseRequest(v)
		if err != nil {
			t.Fatal(err)
		}
		path, up, n := string(r.path), string(r.upstream), r.attempts
		if name == "bare" && (path != "" || up != "" || n != 0) || name == "full" && (path != "/p" || up != "http://u:1" || n != 3) {
			t.Errorf("%s: %q, %q, %d", name, path, up, n)
		}
		for cut := len(bare) + 1; cut < len(v); cut++ {
			if cut == len(v)-len("\x07timeout") {
				continue // as versions without errors wrote it
			}
			if _, err := parseRequest(v[:cut]); err == nil {
				t.Errorf("%s: a trail cut at %d of %d passes", name, cut, len(v))
			}
		}
	}
	o.Path, o.Upstream = strings.Repeat("p", 5000), strings.Repeat("u", 5000)
	if v := appendRequest(nil, o, true); len(v) > maxValue || recordBound(o) < len(v) {
		t.Errorf("%d bytes, more than %d or %d", len(v), maxValue, recordBound(o))
	}
}

// An upstream's failure is the reason of an event and no refusal: its units and its
// use of the key count, and audit.requests decides whether it is kept.
func TestFailureIsNoRefusal(t *testing.T) {
	o := admitted(day0, "default", "key_a")
	o.Status, o.Failure = 502, "upstream_unreachable"
	for setting, kept := range map[string]bool{RequestsAll: true, RequestsDenied: true, RequestsOff: false} {
		l := open(t, Config{Requests: setting})
		if f := l.flags(o); f&recDenied != 0 || f&recUsed == 0 || f&recEvent != 0 != kept {
			t.Errorf("%s: flags %b", setting, f)
		}
	}
	r, err := parseRequest(appendRequest(nil, o, true))
	if err != nil || string(r.reason) != o.Failure {
		t.Fatalf("reason %q, %v", r.reason, err)
	}
	if got := tallyOf(r.status, len(r.reason) > 0, 1, 0); got.denied != 0 || got.units != 1 {
		t.Errorf("%+v", got)
	}
	o.Status = 200 // it cannot be; were it kept, it would count as a refusal
	if r, err := parseRequest(appendRequest(nil, o, true)); err != nil || len(r.reason) != 0 {
		t.Errorf("reason %q, %v", r.reason, err)
	}
}
