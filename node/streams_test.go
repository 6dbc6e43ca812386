package node

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/store"
)

// A reload that takes a route away ends the response that streams from it, and leaves
// those of other routes alone.
func TestReloadEndsAStream(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(upstream.Close) // after the streams
	route := func(path, more string) string {
		return "[[proxy.routes]]\npath = \"" + path + "\"\nupstreams = [\"" + upstream.URL + "\"]\n" + more
	}
	path := configtest.File(t, route("/stays", "")+route("/goes", "")+route("/open", "public = true\n"))
	n := startLone(t, t.TempDir(), "--config", path)
	key := apikey.New(apikey.LivePrefix)
	if err := change(n, &store.Command{Account: store.DefaultAccount, Change: &store.KeyCreate{Key: store.Key{
		ID: "key_1", Hash: apikey.Hash(n.store.Pepper(), key), Hint: "h", Type: store.Live, Name: "k", Scopes: []string{"read"},
	}}}); err != nil {
		t.Fatal(err)
	}
	ended := map[string]chan error{}
	for _, at := range []string{"/stays", "/goes", "/open"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.proxyListener.server.Addr().String()+at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if at != "/open" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		end := make(chan error, 1)
		ended[at] = end
		go func() {
			defer resp.Body.Close()
			_, err := io.Copy(io.Discard, resp.Body)
			end <- err
		}()
	}
	if err := os.WriteFile(path, []byte(route("/stays", "")+route("/open", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/goes", "/open"} {
		select {
		case err := <-ended[at]:
			if err == nil {
				t.Errorf("%s: the response looks whole", at)
			}
		case <-time.After(time.Minute): // 5 s are promised, of a machine that is not loaded
			t.Fatalf("%s: the response still streams", at)
		}
	}
	select {
	case err := <-ended["/stays"]:
		t.Errorf("/stays: the response has ended: %v", err)
	default:
	}
}
