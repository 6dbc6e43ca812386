package cluster

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

type (
	reply  = harness.Reply
	header = harness.Header
)

var as = harness.As

// endpoint is a node as its clients see it.
type endpoint struct {
	name         string
	proxy, admin string // base URLs
}

// target is a cluster as its clients see it; a fake one serves as well.
type target struct {
	nodes    []endpoint
	operator string // token
}

// dialLimit is how soon a client notices that a node is gone.
const dialLimit = time.Second

var client = harness.NewClient(dialLimit)

// within sends one request and reads the answer, at most for limit.
func within(limit time.Duration, method, url string, h header, body any) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return harness.Call(ctx, client, method, url, h, body)
}

// manage makes a management call with the operator's token through node i.
func (g *target) manage(limit time.Duration, i int, method, path string, body any) (*reply, error) {
	return within(limit, method, g.nodes[i].admin+path, as(g.operator), body)
}

// unsent reports whether err shows that the server never saw the request.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
