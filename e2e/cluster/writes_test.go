package cluster

import (
	"fmt"
	"net/http"
	"slices"
)

// sure are the codes of a write that has surely not happened.
var sure = []string{"no_leader", "too_busy", "node_isolated"}

// outcome of a write by its answer; ok is false if it has surely not happened.
func (c *worker) outcome(o *op, r *reply, err error) (ok bool) {
	switch {
	case err != nil && unsent(err):
		o.Answer = "no connection"
		c.h.drop(*o)
		return false
	case err != nil:
		o.Answer = "no answer"
		o.Outcome, o.Return = outUnknown, forever
		return true
	}
	o.Answer = fmt.Sprint(r.StatusCode, " ", r.Code())
	switch {
	case r.StatusCode == http.StatusOK || r.StatusCode == http.StatusCreated:
		o.Outcome = outOK
	case r.StatusCode == http.StatusConflict && r.Code() == "conflict":
		o.Outcome = outRefused
	case r.StatusCode == http.StatusServiceUnavailable && slices.Contains(sure, r.Code()):
		c.h.drop(*o)
		return false
	case r.StatusCode >= 500:
		o.Outcome, o.Return = outUnknown, forever
		if r.StatusCode != http.StatusServiceUnavailable {
			o.Answer = r.String()
			c.h.odd(*o)
		}
	default: // 404 of a key that was created, 401 of the operator, 202
		o.Answer = r.String()
		c.h.odd(*o)
		o.Outcome, o.Return = outUnknown, forever
	}
	return true
}

// once is a fresh Idempotency-Key.
func (c *worker) once() string { return fmt.Sprintf("%x-%d-%x", c.seed, c.id, c.rng.Uint64()) }

// create makes a key; nil if the key or its secret is not known.
func (c *worker) create() *secret {
	i := c.node()
	h := as(c.operator, header{"Idempotency-Key": c.once()})
	o := c.op(opCreate, i)
	r, err := within(writeLimit, "POST", c.nodes[i].admin+"/v1/keys", h, map[string]any{"name": fmt.Sprint("history ", c.id), "type": "live"})
	o.Return = c.h.now()
	if !c.outcome(&o, r, err) || o.Outcome != outOK {
		return nil // the key is not known: it is in no history
	}
	return c.issued(o, r)
}

// issued takes the key out of the answer to a create or a rotation.
func (c *worker) issued(o op, r *reply) *secret {
	k := newSecret(r.Str("id"), r.Str("key"))
	o.Kind, o.Key, o.State = opCreate, k.id, r.Str("state")
	if k.id == "" || k.key == "" || o.State == "" {
		o.Answer = r.String()
		c.h.odd(o)
		return nil
	}
	c.h.add(o)
	return c.born(k)
}

// write makes a change of k through some node and records it; nil unless it is
// known to have happened.
func (c *worker) write(kind string, k *secret, method, path string, body any) *reply {
	i := c.node()
	o := c.op(kind, i)
	o.Key = k.id
	c.touched(k)
	r, err := c.manage(writeLimit, i, method, "/v1/keys/"+k.id+path, body)
	o.Return = c.h.now()
	if !c.outcome(&o, r, err) {
		return nil
	}
	if o.Outcome == outOK && kind == opRotate {
		o.State = r.Str("state")
	}
	c.h.add(o)
	k.changed(kind, o.Outcome)
	if o.Outcome != outOK {
		return nil
	}
	if want := map[string]string{opEnable: stActive, opDisable: stDisabled, opRevoke: stRevoked}[kind]; want != "" && r.Str("state") != want {
		o.Answer = r.String()
		c.h.odd(o)
	}
	if rev, told := r.JSON["revocation"].(map[string]any); kind != opEnable && (!told || rev["effective"] != true) {
		o.Answer = r.String()
		c.h.odd(o)
	}
	return r
}

func (c *worker) patch(k *secret, kind string) {
	state := map[string]string{opEnable: stActive, opDisable: stDisabled}[kind]
	c.write(kind, k, "PATCH", "", map[string]any{"state": state})
}

// rotate replaces k at once and returns the new key.
func (c *worker) rotate(k *secret) *secret {
	before := c.h.now()
	r := c.write(opRotate, k, "POST", "/rotate", map[string]any{"overlap": "0s"})
	if r == nil {
		return nil
	}
	o := c.op(opCreate, 0)
	o.Call, o.Return, o.Answer, o.Outcome = before, c.h.now(), "by rotation", outOK
	return c.issued(o, r)
}
