package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"
)

// Reply is one HTTP answer, read whole.
type Reply struct {
	*http.Response
	Raw  []byte
	JSON map[string]any // nil unless the body is a JSON object
}

// At is the value at a path of members in the body, nil if there is none.
func (r *Reply) At(path ...string) any {
	var v any = r.JSON
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// Str is the text at a path, "" if there is none.
func (r *Reply) Str(path ...string) string { s, _ := r.At(path...).(string); return s }

// Num is the number at a path, 0 if there is none.
func (r *Reply) Num(path ...string) float64 { f, _ := r.At(path...).(float64); return f }

// Code is the code of a fault, "" of a success.
func (r *Reply) Code() string { return r.Str("error", "code") }

func (r *Reply) String() string {
	return fmt.Sprintf("%d %s", r.StatusCode, bytes.TrimSpace(r.Raw[:min(len(r.Raw), 400)]))
}

// Header is the header of a request.
type Header map[string]string

// As is the header that authenticates with credential, with more added to it.
func As(credential string, more ...Header) Header {
	h := Header{"Authorization": "Bearer " + credential}
	for _, m := range more {
		maps.Copy(h, m)
	}
	return h
}

// NewClient returns a client that follows no redirect, trusts any certificate (the
// tests or the binary make them) and keeps connections, as any client does. It gives
// up connecting after dial; other bounds are the context's.
func NewClient(dial time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dial}).DialContext,
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     30 * time.Second,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Call sends one request and reads the answer. body may be nil, a string (sent as it
// is, as JSON unless h says otherwise) or a value (sent as JSON).
func Call(ctx context.Context, client *http.Client, method, url string, h Header, body any) (*Reply, error) {
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
	req, err := http.NewRequestWithContext(ctx, method, url, rd)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range h {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	return Read(resp)
}

// Read reads an answer whole and closes it.
func Read(resp *http.Response) (*Reply, error) {
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	out := &Reply{Response: resp, Raw: raw}
	json.Unmarshal(raw, &out.JSON) // some answers are not JSON
	return out, nil
}
