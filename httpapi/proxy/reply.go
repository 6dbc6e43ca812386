package proxy

import (
	"io"
	"net/http"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// reply is the answer of an upstream on its way to the client.
type reply struct {
	x   *exchange
	res *h1.Answer
}

// pass passes on a response whose head has come.
func (r reply) pass() *fault.Error {
	x, res := r.x, r.res
	x.touch()
	x.head.Store(true)
	x.takeCost(res)
	if !x.late {
		x.settle(nil) // the client must not see the answer before the rest of the reserve is free
	}
	if res.Status == http.StatusSwitchingProtocols {
		return r.tunnel()
	}
	r.edit()
	length := res.Length
	if len(res.Announced) > 0 && x.r.Major == 1 && x.r.Method != http.MethodHead {
		length = -1 // HTTP/2 has both; in HTTP/1.1 trailers need chunks
	}
	if res.Body == http.NoBody {
		x.proxy.gate.Leave(&x.pass) // the client's next request may be here before this one returns
	}
	x.beginResponse(res.Status, &res.Fields, length)
	if r.copy() != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// copy sends the body of res, and its trailer. What comes in pieces is flushed at once:
// octets held back would be lost when an upstream breaks off.
func (r reply) copy() error {
	x, res := r.x, r.res
	if res.Body == http.NoBody {
		x.takeLateCost(res)
		return nil
	}
	// The client must not wait for the body to learn of the head. Where there is no body, the
	// head is to end the stream of HTTP/2, as it has ended the upstream's: to gRPC that
	// head is the trailer.
	if b, ok := res.Body.(interface{ Buffered() int }); res.Length != 0 && (!ok || b.Buffered() == 0) {
		if err := x.down.Flush(); err != nil {
			return err
		}
	}
	if b, ok := res.Body.(whole); ok && res.Length > 0 && int64(len(b.Next())) == res.Length {
		return r.copyWhole(b)
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	long := true // until it has been tried
	for {
		if long && res.MayMove() {
			long = false
			if err := r.splice(); err != nil {
				return err
			}
		}
		n, err := r.read(buf[:])
		x.touch()
		if err == io.EOF {
			x.takeLateCost(res)
		}
		if err == io.EOF || res.Length >= 0 && x.bytes+int64(n) >= res.Length {
			x.proxy.gate.Leave(&x.pass) // the client is about to know that the answer is complete
		}
		if n > 0 {
			m, failed := x.down.Write(buf[:n])
			x.bytes += int64(m)
			if failed == nil && err == nil {
				failed = x.down.Flush()
			}
			if failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			x.editHead(&res.Trailer)
			x.down.End(&res.Trailer)
			return nil
		}
		if err != nil {
			r.brokeOff(err)
			return err
		}
	}
}

// read reads a piece of the body. The first one is all that has arrived, so that it goes to
// the client in one write with the head.
func (r reply) read(buf []byte) (int, error) {
	n, err := r.res.Body.Read(buf)
	b, ok := r.res.Body.(interface{ Gather(p []byte) int })
	if !ok || err != nil || r.x.bytes > 0 {
		return n, err
	}
	for n < len(buf) {
		m := b.Gather(buf[n:])
		if m == 0 {
			break
		}
		n += m
	}
	if int64(n) == r.res.Length {
		_, err = r.res.Body.Read(nil) // its end, which comes with the last octets
	}
	return n, err
}

// whole is a body that may have been received to its end.
type whole interface {
	Next() []byte
	Skip(n int) error
}

// copyWhole sends a body all of which is there, as it stands in the upstream's buffer.
func (r reply) copyWhole(b whole) error {
	x, res := r.x, r.res
	x.takeLateCost(res)
	p := b.Next()
	n, err := x.down.Write(p)
	if x.bytes += int64(n); err != nil {
		return err
	}
	if err := b.Skip(len(p)); err != io.EOF {
		r.brokeOff(err)
		return err
	}
	x.down.End(&res.Trailer) // there is none
	return nil
}

// brokeOff logs the end of a response that the upstream has not finished. A client or a
// timeout that ends one is no failure of the upstream.
func (r reply) brokeOff(err error) {
	x := r.x
	if x.life.Cause() != nil || !x.blames(err) {
		return
	}
	x.lane.counts.broken.Inc()
	x.proxy.logger.Warn("an upstream broke off its answer", "request_id", x.id, "route", x.lane.name(), "upstream", x.upstream.name, "error", err)
}

// close ends the attempt that has been answered.
func (r reply) close() {
	r.res.Body.Close()
	r.x.life.attach(nil)
	r.x.upstream.inFlight.Add(-1)
}

// edit makes the head of an upstream's response fit for the client.
func (r reply) edit() {
	x, res := r.x, r.res
	f := &res.Fields
	protocol := f.Get("Upgrade")
	dropHops(f)
	if res.Status == http.StatusSwitchingProtocols {
		f.Add("Connection", "Upgrade")
		f.Add("Upgrade", protocol)
	}
	x.editHead(f)
	for _, name := range res.Announced {
		if !x.lane.route.withheld(name) {
			f.Add("Trailer", name)
		}
	}
}
