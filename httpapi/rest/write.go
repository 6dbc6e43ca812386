package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// Propose completes cmd with the caller and origin of the call and with the time, and
// hands it to the cluster. A refusal by apply comes back as a fault.
func (c *Call) Propose(cmd *store.Command) (Receipt, error) {
	if f := c.conditions(); f != nil {
		return Receipt{}, f
	}
	// A call of many commands, or with a slow body, may have begun long ago, and a leader
	// takes an old time for that of a wrong clock.
	now, _ := c.frame.cfg.Clock()
	cmd.At = stamp(now)
	c.Describe(cmd)
	cmd.Once = c.repeat.once
	tags := []uint64{cmd.Match}
	if cmd.Match == 0 && c.Param != "" {
		if list, err := ifMatch(c.Request.Header); err != nil {
			return Receipt{}, err
		} else if list != nil {
			tags = list
		}
	}
	mask(cmd)
	ctx, cancel := context.WithTimeout(c.Request.Context(), ProposeTimeout)
	defer cancel()
	for _, cmd.Match = range tags[:len(tags)-1] {
		// One of several tags that the target does not have changes nothing.
		rc, err := c.propose(ctx, cmd)
		if err == nil || fault.From(err).Code != fault.PreconditionFailed {
			return rc, err
		}
	}
	cmd.Match = tags[len(tags)-1]
	return c.propose(ctx, cmd)
}

// Describe completes cmd with the call's caller, account and origin.
func (c *Call) Describe(cmd *store.Command) {
	cmd.Actor = c.Caller.Actor
	if cmd.Account == "" {
		cmd.Account = c.Account
	}
	if c.Client.IsValid() {
		cmd.IP = c.Client.String()
	}
	cmd.Agent = agent(c.Request)
	cmd.Request = store.CommandRequest{
		RequestInfo: store.RequestInfo{ID: c.RequestID(), Method: c.Request.Method, Route: c.Route.Path},
		Path:        c.Route.pathOf(c.Param), StartedAt: c.Now.UTC().Truncate(time.Millisecond),
	}
}

// propose hands cmd, which is complete, to the cluster.
func (c *Call) propose(ctx context.Context, cmd *store.Command) (Receipt, error) {
	rc, err := c.frame.cfg.Backend.Propose(ctx, cmd)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return Receipt{}, fault.Wrap(fault.UnknownOutcome, err)
		}
		return Receipt{}, err
	}
	if no := rc.Refusal; no != nil {
		f := fault.Newf(fault.Code(no.Reason), "%s.", sentence(no))
		if no.Field != "" {
			f.Param = "/" + no.Field
		}
		return Receipt{}, f
	}
	c.change.committed = true
	return rc, nil
}

// sentence begins with the field's name, or else with a capital.
func sentence(no *store.Refusal) string {
	if no.Field != "" || no.Message == "" {
		return no.Message
	}
	return strings.ToUpper(no.Message[:1]) + no.Message[1:]
}

// Revoked is rc's part of an answer to a write that may take a right away. While
// a node may still admit the old state the answer is 202.
func (c *Call) Revoked(rc Receipt) *Revocation {
	if !rc.Revocation.Effective {
		c.Status = http.StatusAccepted
	}
	if rc.Revocation.Nodes == nil {
		rc.Revocation.Nodes = []RevocationAck{}
	}
	return &rc.Revocation
}

// Created makes the answer's status 201, or 200 when the result is a repeat's.
func (c *Call) Created(rc Receipt) {
	c.Status = http.StatusCreated
	if rc.Repeat {
		c.Status = http.StatusOK
	}
}
