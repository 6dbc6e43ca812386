package webhook

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// loopback lets a test reach its own server.
var loopback = prefixes("127.0.0.0/8", "::1/128")

func TestSend(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	status := 0
	var got *http.Request
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body = r, string(raw)
		w.Header().Set("Location", other.URL)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	}))
	defer srv.Close()
	s := NewSender("1.2.3", loopback)
	defer s.Close()
	for _, c := range []struct {
		status int
		err    string
	}{{200, ""}, {201, ""}, {204, ""}, {302, "redirects are not followed"}, {307, "redirects are not followed"}, {400, "answered 400"}, {410, "answered 410"}, {503, "answered 503"}} {
		status = c.status
		o := s.Send(context.Background(), &Notice{URL: srv.URL + "/hook", ID: "msg_1", Body: []byte(`{"a":1}`), Secrets: Secrets{Current: secret}})
		if o.Status != c.status || (o.Err == nil) != (c.err == "") || o.Err != nil && !strings.Contains(o.Err.Error(), c.err) {
			t.Errorf("%d: %+v", c.status, o)
		}
	}
	h := http.Header{}
	Sign(h, Secrets{Current: secret}, "msg_1", time.Unix(0, 0), []byte(body))
	if got.Method != "POST" || got.URL.Path != "/hook" || body != `{"a":1}` || got.Header.Get("Content-Type") != "application/json" ||
		got.Header.Get("User-Agent") != "perfgate/1.2.3" || got.Header.Get(SignatureHeader) != h.Get(SignatureHeader) || got.Header.Get(IDHeader) != "msg_1" {
		t.Errorf("%s %s %v %s", got.Method, got.URL, got.Header, body)
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}

// slow answers after a while, in virtual time.
type slow time.Duration

func (d slow) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Duration(d)):
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestTimeout(t *testing.T) {
	for took, good := range map[time.Duration]bool{Timeout - time.Millisecond: true, Timeout + time.Millisecond: false} {
		synctest.Test(t, func(t *testing.T) {
			s := &Sender{transport: slow(took)}
			o := s.Send(context.Background(), &Notice{URL: "http://a.example/"})
			if (o.Err == nil) != good || !good && (o.Err.Error() != "no answer within 10s" || o.Took != Timeout) {
				t.Errorf("an answer after %v: %+v", took, o)
			}
		})
	}
}
