package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// reply is one HTTP answer, read whole.
type reply struct {
	*http.Response
	raw  []byte
	json map[string]any
}

func (r *reply) at(path ...string) any {
	var v any = r.json
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (r *reply) str(path ...string) string  { s, _ := r.at(path...).(string); return s }
func (r *reply) num(path ...string) float64 { f, _ := r.at(path...).(float64); return f }

// code is the fault's code, or "" for a success.
func (r *reply) code() string { return r.str("error", "code") }

type header map[string]string

var httpClient = &http.Client{
	Timeout: 30 * time.Second,
	// Certificates are made by the tests themselves, or by the binary.
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends one request; body may be nil, a string (sent as it is, as JSON
// unless h says otherwise) or a value (sent as JSON).
func do(t testing.TB, method, url string, h header, body any) *reply {
	t.Helper()
	r, err := try(method, url, h, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return r
}

func try(method, url string, h header, body any) (*reply, error) {
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, url, rd)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range h {
		req.Header.Set(k, v)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := &reply{Response: resp}
	if out.raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	json.Unmarshal(out.raw, &out.json) // some answers are not JSON
	return out, nil
}

// as is the header that authenticates with credential, and what more is given.
func as(credential string, more ...header) header {
	h := header{"Authorization": "Bearer " + credential}
	for _, m := range more {
		maps.Copy(h, m)
	}
	return h
}

// manage makes a management call with the operator's token and wants status.
func (s *server) manage(status int, method, path string, body any) *reply {
	s.t.Helper()
	r := do(s.t, method, s.admin+path, as(s.operator), body)
	if r.StatusCode != status {
		s.t.Fatalf("%s %s: %s, want %d\n%s\n%s", method, path, r.Status, status, r.raw, s.log)
	}
	return r
}

// create makes a key, live unless fields say otherwise, and returns it with its id.
func (s *server) create(fields map[string]any) (key, id string) {
	s.t.Helper()
	body := map[string]any{"name": "e2e", "type": "live"}
	maps.Copy(body, fields)
	r := s.manage(http.StatusCreated, "POST", "/v1/keys", body)
	return r.str("key"), r.str("id")
}

// roomy gives the default account limits that no test reaches by accident.
func (s *server) roomy() {
	s.t.Helper()
	s.manage(200, "PATCH", "/v1/accounts/default", map[string]any{
		"tier": "enterprise", "limits": map[string]any{"requests_per_minute": 600_000, "requests_per_month": 10_000_000}})
}
