package rest

import (
	"context"
	"net/http"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// pageView is the action of the event of a page.
const pageView = "page.view"

// View is one view of a page of the dashboard, or one that stays open and is kept up to
// date. Its handler makes several calls for it, one after the other, and no two at a time.
// Those that read are one event and one call of the caller's bucket together: the audit
// log names who looked at which page, and not what the page is made of. A call that is
// refused, and one that changes something, is an event of its own.
type View struct {
	Path    string // as it was asked for, without the query
	Pattern string
	// Live says that the page stays open: nobody acts, and the session's idle time goes on.
	Live bool

	seen    bool // it has its event
	charged bool
}

// viewKey is the key of a [View] in the context of a call.
type viewKey struct{}

// WithView marks the calls with the context as those of a page.
func WithView(ctx context.Context, p *View) context.Context {
	return context.WithValue(ctx, viewKey{}, p)
}

// viewOf is the view that a call which reads is made for; nil: it is a call of its own.
func viewOf(r *http.Request) *View {
	if r.Method != http.MethodGet {
		return nil
	}
	v, _ := r.Context().Value(viewKey{}).(*View)
	return v
}

// chargeView takes one from the bucket of a user. Of the calls of a page, one does that.
func (c Browser) chargeView() *fault.Error {
	p := viewOf(c.Request)
	if p != nil && p.charged {
		return nil
	}
	c.meter = c.frame.meters.of(store.KeyID(c.Caller.Actor.ID), c.Account, c.w.Header(), c.Now, c.mono)
	f := c.meter.takeCall()
	if p != nil {
		p.charged = f == nil
	}
	return f
}

// note is the action in the event of the view's next call that succeeded: the first one is
// the event of the page, and the others are none.
func (v *View) note() string {
	if v.seen {
		return ""
	}
	v.seen = true
	return pageView
}
