package ui

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The bounds of pages that are kept up to date while they are open.
const (
	maxLive   = 64               // of them at once; another page stays as it was when it was asked for
	eachLive  = 8                // of them of one account
	liveEvery = 2 * time.Second  // between two looks
	liveBeat  = 15 * time.Second // at most without a byte, so that proxies keep the connection
	liveStall = 10 * time.Second // for a browser to take an update
	liveMost  = 10 * time.Minute // after which the browser asks again
)

// wantsLive holds for a browser that follows a page: an EventSource.
func wantsLive(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Accept") == "text/event-stream"
}

// follow sends the part of the page that changes, its template "live", whenever it has
// changed. Everything is one view of the page. The session is looked up each time: a user
// who may not see the page any more gets nothing more of it.
func (u *UI) follow(w http.ResponseWriter, r *http.Request, p route) {
	ctx, stop := context.WithTimeout(r.Context(), liveMost)
	defer stop()
	r = r.WithContext(ctx)
	first, err := u.visit(w, r)
	if err == nil {
		first.carrier.view.Live = true
		err = first.signIn()
	}
	if err == nil {
		if f := u.live.Take(ctx, first.account); f != nil {
			err = f
		}
	}
	if err != nil {
		http.Error(w, "The page cannot be followed.", fault.From(err).Code.Status())
		return
	}
	defer u.live.Release(first.account)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	out := &events{flusher: flusher{w, http.NewResponseController(w)}}
	last, sent := "", time.Time{}
	for {
		part, err := u.part(first, p)
		switch {
		case err != nil && sent.IsZero():
			http.Error(w, "The page cannot be followed.", fault.From(err).Code.Status())
			return
		case err != nil:
			if ctx.Err() == nil {
				_ = out.send("event: end\ndata:\n\n") // the browser loads the page again, or signs in
			}
			return
		case part != last || sent.IsZero():
			last, sent = part, time.Now()
			err = out.send("data: " + strings.ReplaceAll(strings.TrimSpace(part), "\n", "\ndata: ") + "\n\n")
		case time.Since(sent) > liveBeat:
			sent = time.Now()
			err = out.send(":\n\n")
		}
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !u.cfg.Ready() {
			return // the node stops: the browser asks again, here or elsewhere
		}
	}
}

// part is the part of the page as it is now. Its calls belong to the view of first.
func (u *UI) part(first *visit, p route) (string, error) {
	out := &answer{header: http.Header{}}
	v, err := u.visit(out, first.r)
	if err != nil {
		return "", err
	}
	v.live = true
	v.carrier.id, v.carrier.view = first.carrier.id, first.carrier.view
	if err := v.signIn(); err != nil {
		return "", err
	}
	if err := p.serve(v); err != nil {
		return "", err
	}
	return out.body.String(), nil
}

// flusher sends text without delay.
type flusher struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (f flusher) send(text string) error {
	// A writer without deadlines (a test's) is waited for.
	_ = f.control.SetWriteDeadline(time.Now().Add(liveStall))
	if _, err := f.w.Write([]byte(text)); err != nil {
		return err
	}
	return f.control.Flush()
}

// events writes server-sent events.
type events struct {
	flusher
	begun bool
}

func (e *events) send(text string) error {
	if !e.begun {
		e.begun = true
		h := e.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("X-Accel-Buffering", "no") // nginx would keep the events back
		e.w.WriteHeader(http.StatusOK)
	}
	return e.flusher.send(text)
}
