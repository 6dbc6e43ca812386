package h1

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
)

// view is an answer as a client of net/http sees it.
type view struct {
	Status          int
	Header, Trailer http.Header
	Body            string
	Length          int64
	Close           bool
	Interim         []string
}

// look asks url with a client of net/http.
func look(t *testing.T, method, url, body string) (v view) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = io.MultiReader(strings.NewReader(body)) // chunked
	}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		v.Interim = append(v.Interim, fmt.Sprint(status, h))
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	// What differs on purpose: no type is guessed, and the date is the moment's.
	res.Header.Del("Content-Type")
	res.Header.Del("Date")
	v.Status, v.Header, v.Trailer, v.Body, v.Length, v.Close = res.StatusCode, res.Header, res.Trailer, string(b), res.ContentLength, res.Close
	return v
}

// Handlers mean the same to this server as to that of net/http.
func TestLikeNetHTTP(t *testing.T) {
	differ := map[string]string{
		"205":                              "net/http sends the content of an answer that must have none",
		"a bad length":                     "net/http sends the length in chunks",
		"early hints":                      "net/http sends a 100 that nobody waits for",
		"a trailer that was not announced": "net/http sends Host as a trailer",
		"long":                             "net/http sends the handler's Transfer-Encoding, and no length to HEAD",
		"trailers":                         "net/http announces none that it does not send",
	}
	handlers := map[string]http.HandlerFunc{
		"echo": echoing,
		"unread": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("A", "1")
			w.Header().Add("A", "2")
			io.WriteString(w, "unread")
		},
		"announced trailers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-A")
			w.Header().Add("Trailer", "X-B")
			io.WriteString(w, "abc")
			w.Header().Set("X-A", "1")
			w.Header()["X-B"] = []string{"2", "3"}
		},
		"hints": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			w.Header().Set("X-Final", "1")
			w.WriteHeader(404)
		},
		"closing": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		"a type":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
	}
	for _, tt := range answers {
		if differ[tt.name] == "" {
			handlers[tt.name] = tt.do
		}
	}
	for name, h := range handlers {
		theirs := httptest.NewServer(h)
		ours := serve(t, answering(h))
		for _, method := range []string{"GET", "HEAD", "POST"} {
			body := ""
			if method == "POST" {
				body = "a body"
			}
			if name == "declared" && method == "HEAD" {
				continue // net/http reports a wrong length of an answer without content
			}
			want, got := look(t, method, theirs.URL, body), look(t, method, "http://"+ours.String(), body)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s:\n%+v, want\n%+v", name, method, got, want)
			}
		}
		theirs.Close()
	}
}
