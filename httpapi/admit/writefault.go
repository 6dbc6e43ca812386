package admit

import (
	"net/http"
	"slices"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// WriteFault answers r with f as [fault.Write] does, without an API key in the texts
// for the client. Every fault of perfgate's own is written by it: messages quote
// requests, and a key may stand anywhere in one.
func WriteFault(w http.ResponseWriter, r *http.Request, f *fault.Error) {
	fault.Write(w, r, masked(f))
}

// RenderFault is the answer to a request with the id, without an API key in its texts.
// accept are the lines of the request's Accept.
func RenderFault(f *fault.Error, requestID string, accept []string) fault.Answer {
	return fault.Render(masked(f), requestID, accept)
}

// masked is f without an API key in its texts for the client.
func masked(f *fault.Error) *fault.Error {
	g := *f
	g.Message, g.Param = apikey.Mask(f.Message), apikey.Mask(f.Param)
	g.Scope, g.Allow = apikey.Mask(f.Scope), apikey.Mask(f.Allow)
	g.Errors = slices.Clone(f.Errors)
	for i, d := range g.Errors {
		g.Errors[i] = fault.Detail{Param: apikey.Mask(d.Param), Message: apikey.Mask(d.Message)}
	}
	return &g
}
