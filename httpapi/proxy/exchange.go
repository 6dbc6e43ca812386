package proxy

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// exchange is one request on its way through the proxy, with all that is known of
// it. The handler's goroutine owns every field that has no other owner stated;
// the fields that others read are set before watch is called.
type exchange struct {
	proxy *Proxy
	live  *live       // the settings that this request began with
	down  downstream  // the client; its deadlines are guarded by mu against use after the handler's end
	r     *h1.Request // as it came in
	id    string
	life  life

	client netip.Addr
	lane   *lane // nil until a route is found
	open   bool  // no key is asked for
	pass   admit.Pass
	ruling ruling

	charges
	payload
	progress
	trail
	fate

	status  atomic.Int32 // of the final response; 0 until its head is sent. 101 counts.
	bytes   int64        // of its body, sent
	aborted bool         // by a panic after the response began

	kept
}

// kept are the parts of an exchange that another request uses again.
type kept struct {
	first       h1.Call   // to the upstream
	out         outgoing  // header for the upstream
	own         h1.Fields // of a response of our own
	seen        local.Observation
	lines       []byte // of the response's head, our own
	onConnected func(net.Conn, bool)
	onInterim   func(int, *h1.Fields) error
	onLeave     func()
}

// charges are a request's part in the limits and the budget of its key.
type charges struct {
	decided  time.Time // when it was charged
	charged  bool
	maxCost  store.Money // the bound in force; 0 is none
	reserve  store.Money // of the key's budget
	cost     store.Money // as it turned out
	settled  bool        // the reserve has been replaced by the cost, or the charge refunded
	refunded bool        // it reached no upstream: it counts for nothing but the minute
	late     bool        // the cost may follow in the response's trailer
	trailed  bool        // the response's trailer has been searched for a cost
	sent     atomic.Bool // a connection to an upstream was there to write the request to
}

// reset makes c blank.
func (c *charges) reset() {
	c.decided, c.charged, c.maxCost, c.reserve, c.cost = time.Time{}, false, 0, 0, 0
	c.settled, c.refunded, c.late, c.trailed = false, false, false, false
	c.sent.Store(false)
}

// payload is the body that the client sends.
type payload struct {
	body     *body        // nil if there is none
	buffered []byte       // the whole body, where it had to be read and may have been changed
	held     *bodies.Held // the memory of buffered
	changed  bool         // buffered differs from the client's body
	trailer  *h1.Fields   // to send upstream after the body; filled by body. nil: none
}

// trail holds the facts of a request that its observation reports later.
type trail struct {
	path     string    // as sent, without the query; "" if it cannot be shown
	upstream *upstream // of the last attempt; nil before the first one
	attempts int       // at upstreams
}

// progress is written by the goroutines that move bytes, and read by tick; start never
// changes.
type progress struct {
	start time.Time
	last  atomic.Int64 // time of the last byte, in nanoseconds since start
	head  atomic.Bool  // the upstream's response has begun
}

// touch records that a byte has moved.
func (p *progress) touch() { p.last.Store(int64(time.Since(p.start))) }

// fate is how a request is ended early. mu guards all of it.
type fate struct {
	mu      sync.Mutex
	timer   *time.Timer // runs tick; nil before the first request
	due     time.Time   // of timer; zero if it is not set
	watched bool        // tick has something to do
	long    bool        // entered among the streams
	ended   bool
	killed  bool
	conn    net.Conn // of a tunnel
}
