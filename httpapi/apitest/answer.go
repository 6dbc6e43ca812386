package apitest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// Answer is a response read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	JSON   map[string]any // of a JSON body
	Err    error          // of reading the body
}

// Do sends one request. token "" sends no credential. headers come in pairs.
func (g *Rig) Do(base, method, path, token, body string, headers ...string) Answer {
	g.T.Helper()
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, base+path, payload)
	Must(g.T, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.RoundTrip(r)
	if err != nil {
		g.T.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(raw), Err: err}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && json.Valid(raw) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		d.Decode(&a.JSON)
	}
	return a
}

// Op is [Rig.Do] as operator on the admin listener.
func (g *Rig) Op(method, path, body string, headers ...string) Answer {
	g.T.Helper()
	return g.Do(g.Admin.URL, method, path, OperatorToken, body, headers...)
}

// Want fails unless a has the status and, for a fault, the code.
func (a Answer) Want(t testing.TB, status int, code ...fault.Code) Answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d, want %d: %.500s", a.Status, status, a.Body)
	}
	if len(code) > 0 && a.Code() != string(code[0]) {
		t.Fatalf("code %q, want %q: %.500s", a.Code(), code[0], a.Body)
	}
	return a
}

// Code is the code of a fault.
func (a Answer) Code() string {
	e, _ := a.JSON["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

// Message is the sentence of a fault.
func (a Answer) Message() string {
	e, _ := a.JSON["error"].(map[string]any)
	s, _ := e["message"].(string)
	return s
}

// Text is a member of the answer that is a string.
func (a Answer) Text(name string) string {
	s, _ := a.JSON[name].(string)
	return s
}

// Members are the names in an answer, sorted.
func (a Answer) Members() []string {
	var names []string
	for n := range a.JSON {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
