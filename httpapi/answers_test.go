package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
)

// describedAnswers answers every request with the least that the description requires of it.
type describedAnswers struct {
	g  *apitest.Rig
	op *openapi3.Operation
}

func (d describedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, Body: http.NoBody, Request: r}
	for code, ref := range d.op.Responses.Map() {
		if code[0] != '2' {
			continue
		}
		for _, typ := range []string{"application/json", "application/octet-stream", "application/x-ndjson"} {
			if media := ref.Value.Content[typ]; media != nil {
				raw, err := json.Marshal(leastOf(media.Schema.Value))
				if err != nil {
					return nil, err
				}
				resp.Header.Set("Content-Type", typ)
				resp.Body = io.NopCloser(bytes.NewReader(raw))
				return resp, nil
			}
		}
	}
	return resp, nil
}

// leastOf is a value with the members that a schema requires, which are null if they are
// neither objects nor arrays.
func leastOf(s *openapi3.Schema) any {
	members := map[string]any{}
	for _, part := range slices.Concat(s.AllOf, s.AnyOf, s.OneOf) {
		if of, ok := leastOf(part.Value).(map[string]any); ok {
			maps.Copy(members, of)
		}
	}
	for _, name := range s.Required {
		if p := s.Properties[name]; p != nil {
			members[name] = leastOf(p.Value)
		}
	}
	switch {
	case len(members) > 0 || s.Type.Includes("object"):
		return members
	case s.Type.Includes("array"):
		return []any{leastOf(s.Items.Value)}
	}
	return nil
}

// The client looks for no member that the description does not require: it would take
// an answer of perfgate for that of another server.
func TestClientKnowsDescribedAnswers(t *testing.T) {
	g := apitest.New(t)
	calls := clientCalls(g)
	for _, item := range g.Doc.Paths.Map() {
		for _, op := range item.Operations() {
			c, err := client.New("http://perfgate.test", apitest.OperatorToken)
			apitest.Must(t, err)
			c.Explain = func(_ context.Context, err error) error {
				if errors.Is(err, client.ErrForeign) {
					t.Errorf("%s: %v", op.OperationID, err)
				}
				return err
			}
			c.HTTP = &http.Client{Transport: describedAnswers{g, op}}
			calls[op.OperationID](c)
		}
	}
}
