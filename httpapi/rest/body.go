package rest

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// MaxBody bounds a JSON body, in bytes.
const MaxBody = 1 << 20

// FormType is the type that curl -d sends with every body unless it is given
// another. It passes for any type that the call takes: a real form is refused by
// the decoder. Browsers send it across origins without asking, which is no danger: every
// call needs a credential that no browser adds by itself or, with the cookie of a session,
// a header that no page of another origin can set.
const FormType = "application/x-www-form-urlencoded"

// byteOrderMark begins what some editors and shells write as UTF-8. It is no part of the
// text, and JSON parsers may ignore it (RFC 8259, 8.1).
var byteOrderMark = []byte("\ufeff")

// Body returns the body, of at most limit bytes and of one of types, and makes
// the call repeatable if it carries an Idempotency-Key. It is valid until the call
// ends. A caller that lost its right meanwhile is refused. All bodies share one memory,
// and those above [MaxBody] wait for one of a few slots, too, because decoding them takes
// several times their size.
func (c *Call) Body(limit int64, types ...string) ([]byte, error) {
	r := c.Request
	if ct := r.Header.Get("Content-Type"); ct != "" {
		t, _, err := mime.ParseMediaType(ct)
		if err != nil || t != FormType && !slices.Contains(types, t) {
			return nil, fault.Newf(fault.UnsupportedMediaType, "Content-Type: must be %s.", types[0])
		}
	}
	if ce := r.Header.Get("Content-Encoding"); ce != "" && ce != "identity" {
		return nil, fault.Newf(fault.UnsupportedMediaType, "Content-Encoding: send the body as it is.")
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if limit > MaxBody && (r.ContentLength < 0 || r.ContentLength > MaxBody) {
		account, slots := string(c.Account), &c.frame.large
		if f := slots.Take(r.Context(), account); f != nil {
			return nil, f
		}
		c.done = append(c.done, func() { slots.Release(account) })
	}
	raw, err := c.receive(limit)
	switch {
	case err == nil:
	case errors.Is(err, bodies.ErrTooLarge):
		return nil, tooLarge(limit)
	case errors.Is(err, bodies.ErrFull):
		return nil, &fault.Error{Code: fault.TooBusy, RetryAfter: 1, Cause: err,
			Message: "Too many bodies are being read at once; nothing was changed."}
	default:
		return nil, &fault.Error{Code: fault.InvalidRequest, Message: "The body could not be read to its end.", Cause: err}
	}
	raw = bytes.TrimPrefix(raw, byteOrderMark)
	if f := c.Lost(); f != nil {
		return nil, f
	}
	if err := c.charge(int64(len(raw))); err != nil {
		return nil, err
	}
	return raw, c.repeatable(raw)
}

// Charge takes the bytes of something stored that the call is about to write again from
// the share of its account, as if they had been sent: a small body could otherwise write
// any number of bytes. A repeat writes nothing and takes none.
func (c *Call) Charge(size int64) error {
	if c.Repeated() {
		return nil
	}
	return c.charge(size)
}

func (c *Call) charge(size int64) error {
	if c.meter == nil || size == 0 {
		return nil
	}
	if f := c.meter.takeBytes(size); f != nil {
		return f
	}
	return nil
}

// receive reads the body in time.
func (c *Call) receive(limit int64) ([]byte, error) {
	if c.Request.ContentLength == 0 {
		return nil, nil
	}
	control := http.NewResponseController(c.w)
	// A writer without deadlines (a test's) is waited for.
	_ = control.SetReadDeadline(time.Now().Add(bodies.Time(c.Request.ContentLength, limit)))
	held, err := c.frame.cfg.Bodies.Read(c.Request.Body, c.holder(), c.Request.ContentLength, limit)
	if err != nil {
		return nil, err
	}
	c.done = append(c.done, held.Release)
	// From here on the server reads on only to notice that the client has gone.
	_ = control.SetReadDeadline(time.Time{})
	return held.Bytes, nil
}

// holder is the account, or the operator, that a body counts for.
func (c *Call) holder() string {
	if c.Caller.Operates() {
		return bodies.Operators
	}
	return string(c.Account)
}

func tooLarge(limit int64) error {
	return fault.Newf(fault.BodyTooLarge, "The body is larger than %d bytes.", limit)
}
