package rest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// A call whose key loses its right while the body is on its way changes nothing.
func TestLostWhileSending(t *testing.T) {
	g := apitest.New(t)
	for name, c := range map[string]struct {
		lose func(id string)
		code fault.Code
	}{
		"nothing":  {func(string) {}, ""},
		"revoked":  {func(id string) { g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200) }, fault.KeyRevoked},
		"disabled": {func(id string) { g.Op("PATCH", "/v1/keys/"+id, `{"state":"disabled"}`).Want(t, 200) }, fault.KeyDisabled},
		"scope":    {func(id string) { g.Op("PATCH", "/v1/keys/"+id, `{"scopes":["read"]}`).Want(t, 200) }, fault.InsufficientScope},
		"address":  {func(id string) { g.Op("PATCH", "/v1/keys/"+id, `{"allowlist":["192.0.2.1"]}`).Want(t, 200) }, fault.IPNotAllowed},
	} {
		id, secret := g.Key("live", "admin")
		conn, err := net.Dial("tcp", g.Admin.Listener.Addr().String())
		apitest.Must(t, err)
		conn.SetDeadline(time.Now().Add(time.Minute))
		body := `{"name":"made by ` + name + `","type":"test"}`
		fmt.Fprintf(conn, "POST /v1/keys HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", secret, len(body))
		r := bufio.NewReader(conn)
		// The call reads its body, so it has been admitted.
		if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%s: %q, %v", name, line, err)
		}
		r.ReadString('\n')
		c.lose(id)
		io.WriteString(conn, body)
		res, err := http.ReadResponse(r, nil)
		apitest.Must(t, err)
		text, _ := io.ReadAll(res.Body)
		conn.Close()
		made := len(g.Op("GET", "/v1/keys?name=made+by+"+name, "").Want(t, 200).Body) > len(`{"data":[],"next_cursor":null}`+"\n")
		if want := c.code == ""; made != want || (res.StatusCode == 201) != want || !want && !strings.Contains(string(text), `"`+string(c.code)+`"`) {
			t.Errorf("%s: %d %s; a key was made: %v", name, res.StatusCode, text, made)
		}
	}
}

// A streamed answer is cut off when its caller loses its right, whether the client
// reads on or not, and not otherwise.
func TestLostWhileStreaming(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	f.Recheck(10 * time.Millisecond)
	ended := make(chan error, 1)
	id := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.Serve(w, r, &rest.Route{ID: "x", Method: "GET", Path: "/x", Scope: 0, Serve: func(c *rest.Call) error {
			s := c.Stream()
			for {
				if _, err := s.WriteString(strings.Repeat("x", 100_000)); err != nil {
					ended <- err
					return err
				}
			}
		}}, "", true)
	}))
	defer srv.Close()
	for _, reads := range []bool{true, false} {
		var secret string
		id, secret = g.Key("live", "admin")
		req, _ := http.NewRequest("GET", srv.URL, nil)
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(req)
		apitest.Must(t, err)
		if reads {
			go io.Copy(io.Discard, resp.Body)
		}
		select {
		case err := <-ended:
			t.Fatalf("the stream of a good key ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		g.Op("PATCH", "/v1/keys/"+id, `{"scopes":["verify"]}`).Want(t, 200)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Errorf("reads %v: the stream goes on without the right", reads)
		}
		resp.Body.Close()
	}
}
