package ui

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// The times of a revocation that is watched.
const (
	atOnce      = 150 * time.Millisecond // for which a page waits to be sent whole
	revokeEvery = 200 * time.Millisecond // between two looks at the nodes
)

// revoked is the confirmation of a revocation.
type revoked struct {
	Key  *client.Key
	Told map[string]bool // nodes whose rows were sent already
}

// confirmed is the answer to a revocation.
type confirmed struct {
	key *client.Key
	err error
}

// confirmRevocation revokes the key k and shows which nodes have confirmed it. A node that cannot be
// reached makes the answer wait for seconds; meanwhile the page grows by a row for each
// node that has confirmed, so that a person sees what is waited for.
func confirmRevocation(v *visit, k *client.Key, revoke func(context.Context) (*client.Key, error)) error {
	v.passCookies()
	nodes := beside(v) // before the call takes the carrier
	answer := make(chan confirmed, 1)
	go func() { // ends with the call, which is bounded and ends when the browser is gone
		defer func() {
			if p := recover(); p != nil { // it would stop the node: no server stands around this goroutine
				answer <- confirmed{err: fmt.Errorf("panic in a revocation: %v\n%s", p, debug.Stack())}
			}
		}()
		done, err := revoke(v.context())
		answer <- confirmed{done, err}
	}()
	timer := time.NewTimer(atOnce)
	defer timer.Stop()
	select {
	case o := <-answer:
		return showRevoked(v, o)
	case <-timer.C:
	}
	g := &growing{visit: v, out: flusher{v.w, http.NewResponseController(v.w)}, page: &page{Title: "Revoke the key", Name: "revoked", visit: v}}
	body := revoked{Key: k, Told: map[string]bool{}}
	g.page.Body = body
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the rows back
	v.w.WriteHeader(http.StatusOK)
	g.send("top", "begun")
	tick := time.NewTicker(revokeEvery)
	defer tick.Stop()
	for {
		select {
		case o := <-answer:
			if o.err != nil {
				if g.page.Problem = fault.From(o.err); g.page.Problem.Code == fault.Internal {
					v.ui.cfg.Logger.Error("revocation on a page failed", "path", v.r.URL.Path, "request_id", v.carrier.id, "error", o.err)
				}
			} else {
				body.Key = o.key
			}
			g.page.Body = body
			g.send("rest", "ended", "bottom")
			return nil
		case <-tick.C:
		}
		// What goes wrong here leaves a row out; the answer has them all.
		if now, err := nodes.Insight().KeyNodes(v.context(), k.ID); err == nil && now.State == "revoked" {
			for _, n := range now.Nodes {
				if n.How == "applied" && !body.Told[n.Name] {
					body.Told[n.Name] = true
					g.page.Body = n
					g.send("node")
				}
			}
		}
	}
}

// showRevoked shows a revocation that was answered at once.
func showRevoked(v *visit, o confirmed) error {
	if o.err != nil {
		f, err := asked(o.err)
		if f == nil {
			return err
		}
		return showStep(v, "revoke", "Revoke the key", f)
	}
	return v.show("revoked", "The key is revoked", revoked{Key: o.key})
}

// beside makes calls of the same view beside the one that the visit is making.
func beside(v *visit) *client.Client {
	second, api := *v.carrier, *v.api
	second.cookies = nil
	api.HTTP = &http.Client{Transport: &second}
	return &api
}

// growing is a page that is sent in parts. A part that cannot be sent is left out: the
// browser has gone, or the page breaks off, and the change is made in any case.
type growing struct {
	visit *visit
	out   flusher
	page  *page
}

// send sends templates of the page.
func (g *growing) send(names ...string) {
	var b bytes.Buffer
	for _, name := range names {
		if err := g.visit.ui.pages[g.page.Name].ExecuteTemplate(&b, name, g.page); err != nil {
			g.visit.ui.cfg.Logger.Error("part of a page failed", "path", g.visit.r.URL.Path, "request_id", g.visit.carrier.id, "error", err)
			return
		}
	}
	_ = g.out.send(b.String())
}
