package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// diagnose turns the error of a call into one that tells from each other: a server that
// does not run, one that is no perfgate, the proxy listener and the cluster port of a
// node, HTTP in the place of HTTPS and the reverse, a path that the API is not under, and
// a token that is not accepted. Only errors that may have one of these causes cost calls
// of their own. The client of the session has it as Explain, so that no call passes it by.
func (s *session) diagnose(ctx context.Context, err error) error {
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return s.diagnoseConnection(ctx, failed)
	}
	return s.diagnoseAnswer(ctx, err)
}

// diagnoseConnection is diagnose for a call without an answer.
func (s *session) diagnoseConnection(ctx context.Context, failed *url.Error) error {
	host, dial := s.base.Host, (*net.OpError)(nil)
	switch {
	case errors.Is(failed, syscall.ECONNREFUSED):
		return fmt.Errorf("no server listens at %s: %w. Start a node with perfgate serve, or name its admin listener with --server", host, failed.Err)
	case errors.Is(failed, http.ErrSchemeMismatch):
		return fmt.Errorf("%s speaks HTTP without TLS; use --server http://%s", host, host)
	case failed.Timeout() || errors.As(failed, &dial) && dial.Op == "dial":
	case s.speaks(ctx, callProtocol):
		return fmt.Errorf("%s is the cluster port of a perfgate node and not its admin listener, which --server must name (%s unless configured)", host, defaultServer)
	case s.base.Scheme == "http" && s.speaks(ctx, ""):
		return s.useTLS()
	}
	return fmt.Errorf("call %s: %w", failed.URL, failed.Err)
}

func (s *session) useTLS() error {
	return fmt.Errorf("%s speaks HTTPS; use --server https://%s", s.base.Host, s.base.Host)
}

// diagnoseAnswer is diagnose for a call whose answer is a refusal, or none of perfgate's.
func (s *session) diagnoseAnswer(ctx context.Context, err error) error {
	var f *fault.Error
	own := errors.As(err, &f) && !f.Foreign()
	switch {
	case ctx.Err() != nil, own && f.Code.Status() != http.StatusUnauthorized && f.Sentence() != fault.New(fault.NotFound).Sentence():
		return err
	case f == nil && !garbled(err):
		return err
	case !own && s.base.Scheme == "http" && s.speaks(ctx, ""):
		return s.useTLS()
	}
	kind := s.probe(ctx, s.base)
	if root := (&url.URL{Scheme: s.base.Scheme, Host: s.base.Host}); kind != adminListener && s.base.Path != "" {
		switch atRoot := s.probe(ctx, root); atRoot {
		case adminListener:
			return fmt.Errorf("the admin API at %s is not under the path %s; use --server %s", root.Host, s.base.Path, root)
		case proxyListener:
			kind = atRoot
		}
	}
	switch {
	case kind == adminListener && own && f.Code.Status() == http.StatusUnauthorized:
		return fmt.Errorf("the server at %s does not accept this token; check %s or --data-dir: %w", s.base.Host, tokenEnv, err)
	case kind == proxyListener:
		return fmt.Errorf("%s is the proxy listener of a perfgate node and not its admin listener, which --server must name (%s unless configured)", s.base.Host, defaultServer)
	case kind == otherServer && !own:
		return fmt.Errorf("the server at %s is not a perfgate management API; check --server: %s", s.base.Host, plain(err))
	}
	return err
}

// garbled reports whether err is about an answer that is not one of perfgate's.
func garbled(err error) bool {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	return errors.Is(err, client.ErrForeign) || errors.As(err, &syntax) || errors.As(err, &typ) || errors.Is(err, io.EOF)
}

// plain is the sentence of err, without the code, which means nothing if another server
// sent it, and without the words of [client.ErrForeign], which the caller replaces.
func plain(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Sentence()
	}
	return strings.TrimSuffix(err.Error(), ": "+client.ErrForeign.Error())
}
