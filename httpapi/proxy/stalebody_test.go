package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A short body goes out with its head. It is not read for a connection that has ended: the
// request could not go to the next upstream then.
func TestShortBodyGoesToTheNextUpstream(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		http.MaxBytesReader(w, r.Body, 99).Read(make([]byte, 99))
	}
	for range 5 {
		first := httptest.NewServer(http.HandlerFunc(echo))
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{first.URL, backend(t, echo)}})
		for range 4 { // both upstreams have an idle connection then
			text(t, r.do("PUT", "/", "octets"))
		}
		first.CloseClientConnections()
		first.Close()
		for range 4 {
			if res := r.do("PUT", "/", "octets"); res.StatusCode != 200 {
				t.Errorf("status %d: %s; log\n%s", res.StatusCode, text(t, res), r.out.String())
			}
		}
	}
}
