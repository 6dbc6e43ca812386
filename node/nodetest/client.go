package nodetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// API is a client of the management API that shows the operator's token.
func (n *Node) API() *client.Client {
	n.c.t.Helper()
	return n.client(n.running().admin, Token)
}

// open is a client of the proxy listener, for the probes.
func (n *Node) open() *client.Client { return n.client(n.running().proxy, "") }

func (n *Node) client(base, token string) *client.Client {
	n.c.t.Helper()
	c, err := client.New(base, token)
	if err != nil {
		n.c.t.Fatal(err)
	}
	c.HTTP = n.c.http
	return c
}

// Answer is an answer of the proxy.
type Answer struct {
	Status int
	Code   string // of an error
	Header http.Header
}

func (a Answer) String() string { return strings.TrimSpace(fmt.Sprint(a.Status, " ", a.Code)) }

// Request sends a request with key through the node's proxy. Without an answer
// Status is 0.
func (n *Node) Request(method, path, key string) Answer {
	n.c.t.Helper()
	return n.RequestAt(n.running().proxy, method, path, key)
}

// RequestAt is [Node.Request] at an address that [Node.Proxy] returned before.
func (n *Node) RequestAt(proxy, method, path, key string) Answer {
	req, err := http.NewRequest(method, proxy+path, nil)
	if err != nil {
		return Answer{Code: err.Error()}
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := n.c.http.Do(req)
	if err != nil {
		return Answer{Code: err.Error()}
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode >= 400 {
		var f *fault.Error
		if errors.As(fault.Decode(resp), &f) {
			a.Code = string(f.Code)
		}
		return a
	}
	io.Copy(io.Discard, resp.Body)
	return a
}

// Get is a GET with key.
func (n *Node) Get(key string) Answer { n.c.t.Helper(); return n.Request("GET", "/x", key) }

// Proxy is the URL of the proxy listener.
func (n *Node) Proxy() string { n.c.t.Helper(); return n.running().proxy }

// Admin is the URL of the admin listener.
func (n *Node) Admin() string { n.c.t.Helper(); return n.running().admin }
