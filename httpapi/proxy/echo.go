package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxEcho bounds how much of a body the echo repeats.
const maxEcho = 4 << 10

// Echo returns the built-in demo upstream: it answers any request with a
// description of it, as JSON, and /sse with one event a second, n of them (?n=,
// at most 60). It sees requests as an upstream does, after the proxy has changed
// them.
func Echo() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", echo)
	mux.HandleFunc("/sse", echoEvents)
	return mux
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEcho))
	if err != nil {
		http.Error(w, "The body could not be read.", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(struct { // a client that has gone needs no answer
		Method  string      `json:"method"`
		Host    string      `json:"host"`
		Path    string      `json:"path"`
		Query   string      `json:"query,omitempty"`
		Headers http.Header `json:"headers"`
		Body    string      `json:"body,omitempty"`
	}{r.Method, r.Host, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, string(body)})
}

func echoEvents(w http.ResponseWriter, r *http.Request) {
	n := 5
	_, _ = fmt.Sscanf(r.URL.Query().Get("n"), "%d", &n) // another text leaves the default
	n = min(max(n, 1), 60)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for i := 1; ; i++ {
		fmt.Fprintf(w, "data: {\"event\":%d}\n\n", i)
		http.NewResponseController(w).Flush()
		if i == n {
			return
		}
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
}
