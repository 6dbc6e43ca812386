package proxy

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

// A key that a client puts where none belongs is in no observation, answer or line of the
// log, plain or encoded, however the request ends.
func TestObservationsHoldNoKey(t *testing.T) {
	key := apikey.New(apikey.LivePrefix)
	good := backend(t, func(http.ResponseWriter, *http.Request) {})
	r := newRig(t, Settings{}, Route{Path: "/ok", Upstreams: []string{good}}, Route{Path: "/open", Upstreams: []string{good}, Public: true},
		Route{Path: "/dead", Upstreams: []string{closedPort(t)}}, Route{Path: "/fast", Upstreams: []string{good}, Require: []string{"missing"}})
	observed := func(name string) {
		t.Helper()
		if o := fmt.Sprintf("%+v", r.log.next(t)); held(o, key) {
			t.Errorf("%s: observed as %s", name, o)
		}
	}
	for path, want := range map[string]int{"/ok": 200, "/open": 200, "/dead": 502, "/fast": 403, "/none": 404} {
		for _, line := range []string{
			"User-Agent: curl " + key, "User-Agent: " + escaped(key), "User-Agent: a/1 (" + key + "; " + escaped(key) + ")",
			"X-Request-Id: " + key, "X-Request-Id: a." + key + ".b",
		} {
			res := r.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + cred + line + "\r\nConnection: close\r\n\r\n")
			observed(path + ", " + line)
			if got := fmt.Sprint(res.Header, text(t, res)); held(got, key) || res.StatusCode != want {
				t.Errorf("%s, %s: status %d, want %d, answered with %s", path, line, res.StatusCode, want, got)
			}
		}
		for _, method := range []string{key, "x-" + key, escaped(key)} { // for HTTP/1.1 they are too long
			if status := r.frames("", field{":path", path}, field{":method", method}); status != "400" {
				t.Errorf("%s, method %s: status %s, want 400", path, method, status)
			}
			observed(path + ", method " + method)
		}
	}
	if out := r.out.String(); held(out, key) {
		t.Errorf("the log holds the key: %s", out)
	}
}
