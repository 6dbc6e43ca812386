package metering

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Poster sends batches to a URL. Any 2xx says that the receiver has them.
type Poster struct {
	url, token string
	form       Form
	client     *http.Client
}

// NewPoster returns what posts to url, with a bearer token unless it is "". Roots verify the
// receiver's certificate; nil are the system's. Redirects are failures.
func NewPoster(url, token string, form Form, roots *x509.CertPool) *Poster {
	t := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment,
	}
	return &Poster{url: url, token: token, form: form, client: &http.Client{
		Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends idle connections.
func (p *Poster) Close() { p.client.CloseIdleConnections() }

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// Post sends one batch.
func (p *Poster) Post(ctx context.Context, contentType string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "perfgate")
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // also so that the connection can be used again
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		return nil
	case p.form == Lago && resp.StatusCode == http.StatusUnprocessableEntity && bytes.Count(body, []byte(`"transaction_id"`)) == 1 &&
		strings.Contains(string(answer), "value_already_exist"):
		return nil // the event was taken before, and the answer was lost
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusRequestEntityTooLarge, resp.StatusCode == http.StatusUnprocessableEntity:
		return &Refused{resp.StatusCode}
	}
	return fmt.Errorf("the receiver answers %d", resp.StatusCode)
}
