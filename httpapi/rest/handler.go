package rest

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// WithBody makes a handler of f, which takes a JSON body: the body is read and
// decoded strictly, f is called, and its result is encoded or its error mapped.
func WithBody[In, Out any](f func(*Call, *In) (Out, error)) Handler {
	return decoded(f, false)
}

// WithOptionalBody is [WithBody] for a body that may be absent.
func WithOptionalBody[In, Out any](f func(*Call, *In) (Out, error)) Handler {
	return decoded(f, true)
}

func decoded[In, Out any](f func(*Call, *In) (Out, error), optional bool) Handler {
	return func(c *Call) error {
		raw, err := c.Body(MaxBody, "application/json")
		if err != nil {
			return err
		}
		in := new(In)
		if len(raw) > 0 || !optional {
			if err := c.Decode(raw, in); err != nil {
				return err
			}
		}
		out, err := f(c, in)
		if err != nil {
			return err
		}
		return c.Answer(out)
	}
}

// Checker is a body that can tell all of its faults without anything else than the call:
// where a member could not be read, the others are checked all the same.
type Checker interface {
	Check(c *Call) error
}

// Decode is [Decode] for a body that may be a [Checker]: where it has faults, those that
// its values have are added.
func (c *Call) Decode(raw []byte, in any) error {
	var faults fault.List
	dropped, whole := decodeAll(raw, in, &faults)
	body, ok := in.(Checker)
	if len(dropped) == 0 || !whole || !ok {
		return faults.Err()
	}
	if err := body.Check(c); err != nil {
		for _, d := range fault.From(err).Details() {
			// That a member is missing is no fault of a body in which it cannot be read.
			if d.Param != "" && !slices.ContainsFunc(dropped, func(at jsontext.Pointer) bool {
				return at.Contains(jsontext.Pointer(d.Param)) || jsontext.Pointer(d.Param).Contains(at)
			}) {
				faults.Add(&fault.Error{Code: fault.From(err).Code, Message: d.Message, Param: d.Param})
			}
		}
	}
	return faults.Err()
}

// WithoutBody makes a handler of f, which takes no body. A body with members is refused,
// unless the call only reads: its sender believes that they have an effect.
func WithoutBody[Out any](f func(*Call) (Out, error)) Handler {
	inner := WithRawBody(f)
	return func(c *Call) error {
		switch m := c.Request.Method; {
		case m == http.MethodGet || m == http.MethodHead:
		case c.Request.ContentLength == 0:
			if err := c.repeatable(nil); err != nil {
				return err
			}
		default:
			raw, err := c.Body(MaxBody, "application/json")
			if err != nil {
				return err
			}
			if raw = bytes.TrimSpace(raw); len(raw) > 0 && string(raw) != "null" { // clients send null for none
				if err := Decode(raw, new(struct{})); err != nil {
					return err
				}
			}
		}
		return inner(c)
	}
}

// WithRawBody makes a handler of f, which reads the body by itself.
func WithRawBody[Out any](f func(*Call) (Out, error)) Handler {
	return func(c *Call) error {
		out, err := f(c)
		if err != nil {
			return err
		}
		return c.Answer(out)
	}
}

// Answer writes v as JSON with the call's status and ETag.
func (c *Call) Answer(v any) error {
	out, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	if c.Status == 0 {
		c.Status = http.StatusOK
	}
	c.write(c.Status, "application/json", append(out, '\n'))
	return nil
}

// AnswerAs writes a whole answer of another type than JSON, with the call's ETag.
func (c *Call) AnswerAs(contentType string, body []byte) error {
	c.write(http.StatusOK, contentType, body)
	return nil
}

// SetConstant sets the ETag of an answer that only a change alters, and neither time nor use:
// who has it already is answered with 304.
func SetConstant(c *Call, tag uint64) { c.ETag, c.w.constant = tag, true }

func (c *Call) write(status int, contentType string, body []byte) {
	h := c.w.Header()
	if c.ETag != 0 {
		h.Set("ETag", etag(c.ETag))
		if m := c.Request.Method; c.w.constant && status == http.StatusOK && (m == http.MethodGet || m == http.MethodHead) && hasTag(c.Request.Header, c.ETag) {
			c.w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // a client that has gone needs no answer
}
