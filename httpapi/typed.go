package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// maxBody bounds a JSON body, in bytes.
const maxBody = 1 << 20

// with makes a handler of f, which takes a JSON body.
func with[In, Out any](f func(*call, *In) (Out, error)) func(*call) error {
	return body(f, false)
}

// maybe is [with] for a body that may be absent.
func maybe[In, Out any](f func(*call, *In) (Out, error)) func(*call) error {
	return body(f, true)
}

func body[In, Out any](f func(*call, *In) (Out, error), optional bool) func(*call) error {
	return func(c *call) error {
		raw, err := c.read(maxBody, "application/json")
		if err != nil {
			return err
		}
		in := new(In)
		if len(raw) > 0 || !optional {
			if err := decode(raw, in); err != nil {
				return err
			}
		}
		out, err := f(c, in)
		if err != nil {
			return err
		}
		return c.answer(out)
	}
}

// plain makes a handler of f, which takes no JSON body.
func plain[Out any](f func(*call) (Out, error)) func(*call) error {
	return func(c *call) error {
		out, err := f(c)
		if err != nil {
			return err
		}
		return c.answer(out)
	}
}

// answer writes v as JSON with the call's status and ETag.
func (c *call) answer(v any) error {
	out, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	out = append(out, '\n')
	h := c.w.Header()
	if c.etag != 0 {
		h.Set("ETag", etag(c.etag))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(out)))
	if c.status == 0 {
		c.status = http.StatusOK
	}
	c.w.WriteHeader(c.status)
	c.w.Write(out) // a client that has gone needs no answer
	return nil
}

// formType is what curl -d calls every body that it is not told about. It is
// taken for what the call wants: a real form is refused by the decoder. Browsers
// send it across origins without asking, which is no danger while every call
// needs a credential that no browser adds by itself.
const formType = "application/x-www-form-urlencoded"

// read returns the body, of at most limit bytes and of one of types, and makes
// the call repeatable if it carries an Idempotency-Key. Bodies above [maxBody]
// wait for one of a few slots, so that they cannot fill the memory.
func (c *call) read(limit int64, types ...string) ([]byte, error) {
	if ct := c.r.Header.Get("Content-Type"); ct != "" {
		t, _, err := mime.ParseMediaType(ct)
		if err != nil || t != formType && !slices.Contains(types, t) {
			return nil, fault.Newf(fault.UnsupportedMediaType, "Content-Type: want %s.", types[0])
		}
	}
	if ce := c.r.Header.Get("Content-Encoding"); ce != "" && ce != "identity" {
		return nil, fault.Newf(fault.UnsupportedMediaType, "Content-Encoding: send the body as it is.")
	}
	if c.r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if limit > maxBody && (c.r.ContentLength < 0 || c.r.ContentLength > maxBody) {
		account := c.account
		if f := c.large.take(c.r.Context(), account); f != nil {
			return nil, f
		}
		c.done = append(c.done, func() { c.large.release(account) })
	}
	raw, err := c.receive(limit)
	if err != nil {
		if big := (*http.MaxBytesError)(nil); errors.As(err, &big) {
			return nil, tooLarge(limit)
		}
		return nil, &fault.Error{Code: fault.InvalidRequest, Message: "The body could not be read to its end.", Cause: err}
	}
	return raw, c.repeatable(raw)
}

// bodyTime bounds how long a body of at most [maxBody] may take to arrive, and
// a larger one for each [maxBody] of it: a client that sends a byte now and then
// would keep a slot of a large body, and its connection, from all others.
const bodyTime = 10 * time.Second

// receive reads the body in time.
func (c *call) receive(limit int64) ([]byte, error) {
	if c.r.ContentLength == 0 {
		return nil, nil
	}
	control := http.NewResponseController(c.w)
	size := c.r.ContentLength
	if size < 0 {
		size = limit
	}
	// A writer without deadlines (a test's) is waited for.
	_ = control.SetReadDeadline(time.Now().Add(bodyTime * time.Duration(1+size/maxBody)))
	raw, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit))
	if err == nil {
		// From here on the server reads on only to notice that the client has gone.
		_ = control.SetReadDeadline(time.Time{})
	}
	return raw, err
}

func tooLarge(limit int64) error {
	return fault.Newf(fault.BodyTooLarge, "The body is larger than %d bytes.", limit)
}
