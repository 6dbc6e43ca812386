package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// probeTime bounds each of the two calls that find out which server has answered.
const probeTime = 3 * time.Second

// diagnose turns the error of a call into one that tells a server that does not run, one
// that is no perfgate, a proxy listener, and a token that is not accepted from each
// other. Only errors that may have one of these causes cost calls of their own. The
// client of the session has it as Explain, so that no call passes it by.
func (s *session) diagnose(ctx context.Context, err error) error {
	var failed *url.Error
	var f *fault.Error
	var garbled *json.SyntaxError
	switch {
	case errors.As(err, &failed) && errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server listens at %s: %w. Start a node with perfgate serve, or name its admin listener with --server", s.base.Host, failed.Err)
	case errors.As(err, &failed):
		return fmt.Errorf("call %s: %w", failed.URL, failed.Err)
	case errors.As(err, &f) && !f.Foreign() && f.Code.Status() != http.StatusUnauthorized && f.Sentence() != fault.New(fault.NotFound).Sentence():
		return err
	case f == nil && !errors.As(err, &garbled), ctx.Err() != nil:
		return err
	}
	refused := f != nil && f.Code.Status() == http.StatusUnauthorized
	switch what := s.probe(ctx); {
	case what == adminListener && refused:
		return fmt.Errorf("the server at %s does not accept this token; check %s or --data-dir: %w", s.base.Host, tokenEnv, err)
	case what == proxyListener:
		return fmt.Errorf("%s is the proxy listener of a perfgate node and not its admin listener, which --server must name (%s unless configured)", s.base.Host, defaultServer)
	case what == otherServer && (f == nil || f.Foreign()):
		return fmt.Errorf("the server at %s is not perfgate's admin API; check --server: %w", s.base.Host, errors.New(plain(err)))
	}
	return err
}

// plain is the sentence of err without a code: one of a server that is none of ours
// has no meaning.
func plain(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Sentence()
	}
	return err.Error()
}

// listener is a kind of server.
type listener int

const (
	unknownServer listener = iota // it does not answer any more
	adminListener
	proxyListener
	otherServer
)

// probe asks which server this is, without the token: only the admin listener has a
// description of the API, and only perfgate answers its health page with a request id.
func (s *session) probe(ctx context.Context) listener {
	ask := func(path string) (status int, id, begins string) {
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(path).String(), nil)
		if err != nil {
			return 0, "", ""
		}
		resp, err := s.api.HTTP.Do(r)
		if err != nil {
			return 0, "", ""
		}
		defer resp.Body.Close()
		head, _ := io.ReadAll(io.LimitReader(resp.Body, 64))
		return resp.StatusCode, resp.Header.Get(fault.RequestIDHeader), string(head)
	}
	status, _, begins := ask("/openapi.yaml")
	if status == http.StatusOK && strings.HasPrefix(begins, "openapi:") {
		return adminListener
	}
	if status == 0 {
		return unknownServer
	}
	if status, id, _ := ask("/livez"); status == http.StatusOK && id != "" {
		return proxyListener
	}
	return otherServer
}
