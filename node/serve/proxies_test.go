package serve

import (
	"fmt"
	"testing"
)

// A flood of requests without a credential that comes by a trusted proxy and takes all
// connections makes way: after a turn for newcomers that come by proxies, and at once for an
// address that is known. Crowds get nothing from it, and requests with a credential last.
func TestFloodByAProxy(t *testing.T) {
	const most = 640
	a := newAccepting(most, "10.0.0.0/8")
	operator := a.open(1, "198.51.100.7")
	operator.Vouch()
	operator.Close()
	pooled := a.open(1, "10.1.2.3") // carries one client's request after the other's
	pooled.begin()
	pooled.Vouch()
	pooled.end()
	pooled.begin() // a stranger's
	customer := a.open(1, "10.1.2.3")
	customer.begin()
	customer.Vouch()
	for range most - 2 {
		a.open(1, "10.1.2.3").begin()
	}
	if c := a.open(1, "10.1.2.4"); !c.probation {
		t.Error("a newcomer by another proxy cuts a request before its turn")
	}
	if c := a.open(1, "198.51.100.7"); c.probation {
		t.Error("an address that is known finds no room")
	}
	if n := most - a.left("10.1.2.3"); n < 1 || n > most/batchShare {
		t.Errorf("%d requests were cut for the known address", n)
	}
	if !closed(pooled) {
		t.Error("a credential vouches for the next client's request on the connection")
	}
	for a.total < most { // in the place of those that were cut
		a.open(1, "10.1.2.3").begin()
	}
	a.clock += turn
	if c := a.open(1, "10.1.2.4"); c.probation {
		t.Error("a newcomer by another proxy finds no room after the turn")
	}
	for i := range most/crowdShare + 2 { // one /64: a crowd at last
		c := a.open(1, fmt.Sprintf("2001:db8::%x", i+1))
		c.begin()
		if crowd := i > most/crowdShare; c.probation != crowd {
			t.Errorf("connection %d of a stranger: on probation %v", i, c.probation)
		}
	}
	if closed(customer) {
		t.Error("a request with a credential was cut")
	}
	few := newAccepting(most, "10.0.0.0/8")
	for i := range most { // no proxy has as many as a crowd
		few.open(1, fmt.Sprintf("10.0.%d.1", i%20)).begin()
	}
	few.clock += turn
	if c := few.open(1, "10.1.2.4"); !c.probation {
		t.Error("requests by a proxy with few connections are cut")
	}
}
