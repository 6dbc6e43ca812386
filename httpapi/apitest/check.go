package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// nextHeader marks the answers of the stand-in for the proxy.
const nextHeader = "X-Next"

// The validator knows NDJSON as text.
func init() {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/csv", openapi3filter.PlainBodyDecoder) // its own one knows no comments
}

// description is the one that was parsed last. Parsing takes longer than most tests, and every
// rig of a process serves the same text.
var description struct {
	mu  sync.Mutex
	raw []byte
	doc *openapi3.T
}

// parseDescription parses a description, or returns the one that was parsed before from the
// same text. Nobody may change it.
func parseDescription(raw []byte) (*openapi3.T, error) {
	description.mu.Lock()
	defer description.mu.Unlock()
	if description.doc != nil && bytes.Equal(raw, description.raw) {
		return description.doc, nil
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err == nil {
		description.raw, description.doc = raw, doc
	}
	return doc, err
}

// describe reads the description that the API serves.
func (g *Rig) describe() {
	g.T.Helper()
	resp, err := http.Get(g.Admin.URL + "/openapi.yaml")
	Must(g.T, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	Must(g.T, err)
	g.Doc, err = parseDescription(raw)
	Must(g.T, err)
	var calls []*rest.Route
	for path, item := range g.Doc.Paths.Map() {
		for method, op := range item.Operations() {
			calls = append(calls, &rest.Route{ID: op.OperationID, Method: method, Path: path})
		}
	}
	g.calls = rest.NewTable(calls...)
}

// RoundTrip sends r and checks the answer against openapi.yaml and against the
// rules that hold for every answer.
func (g *Rig) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || g.Unchecked || resp.Header.Get(nextHeader) != "" {
		return resp, err
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	if err != nil {
		return resp, nil // a stream that broke off: the test looks at it
	}
	if err := g.check(r, resp, raw); err != nil {
		return nil, fmt.Errorf("%s %s answered %d against the description: %w\n%.2000s", r.Method, r.URL, resp.StatusCode, err, raw)
	}
	return resp, nil
}

func (g *Rig) check(r *http.Request, resp *http.Response, raw []byte) error {
	if err := g.checkRules(r, resp, raw); err != nil {
		return err
	}
	op := g.Doc.Paths.Value("/v1/keys").Get // any: its 4XX is that of every call
	path, item := "", &openapi3.PathItem{}
	if rt, _, _ := g.calls.Find(r.Method, r.URL); rt != nil {
		path = rt.Path
		item = g.Doc.Paths.Value(path)
		op = item.GetOperation(rt.Method)
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: g.Doc, Path: path, PathItem: item, Method: r.Method, Operation: op},
		},
		Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(raw)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// checkRules checks the rules that hold for every answer.
func (g *Rig) checkRules(r *http.Request, resp *http.Response, raw []byte) error {
	h := resp.Header
	id := h.Get("X-Request-Id")
	if !admit.IsToken(id) {
		return fmt.Errorf("X-Request-Id is %q", id)
	}
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" {
		return fmt.Errorf("security headers are %v", h)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified {
		return errors.New("it redirects")
	}
	if resp.StatusCode < 400 || r.URL.Path == "/readyz" || r.Method == http.MethodHead {
		return nil
	}
	var d struct{ Error fault.Body }
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	if d.Error.Code.Status() != resp.StatusCode || d.Error.Type != d.Error.Code.Type() || d.Error.RequestID != id {
		return fmt.Errorf("the fault does not fit its answer: %+v", d.Error)
	}
	if d.Error.Code == fault.Internal {
		return fmt.Errorf("an internal error; the log holds %s", g.Log.String())
	}
	if (d.Error.RetryAfter > 0) != (h.Get("Retry-After") != "") {
		return errors.New("Retry-After and retry_after disagree")
	}
	return nil
}
