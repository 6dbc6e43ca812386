package h2guard

import "time"

// kind is a kind of frame without progress.
type kind uint8

const (
	reset        kind = iota // RST_STREAM of the client, and of the server for a fault of the client
	late                     // DATA on a stream that has ended
	empty                    // DATA without an octet of a body that does not end the stream
	continuation             // CONTINUATION with few octets that does not end the head
	settings
	ping
	priority
	windowUpdate
	extension // every other type
	kinds
)

// budget bounds frames of one kind: at most burst at once, and perSecond over time. What
// progress adds to it is in [account.received] and [account.sent].
type budget struct {
	reason           string // for metrics and logs
	burst, perSecond float64
}

var budgets = [kinds]budget{
	reset:        {"stream_resets", 500, 50},
	late:         {"late_data", 2000, 200},
	empty:        {"empty_data", 100, 10},
	continuation: {"continuations", 100, 10},
	settings:     {"settings", 100, 10},
	ping:         {"pings", 500, 50},
	priority:     {"priorities", 1000, 100},
	windowUpdate: {"window_updates", 1000, 100},
	extension:    {"extension_frames", 1000, 100},
}

// slowHead is the reason for which a connection ends whose head takes too long.
const slowHead = "slow_head"

// Reasons are all the reasons for which a connection may be ended.
func Reasons() []string {
	reasons := []string{slowHead}
	for _, b := range budgets {
		reasons = append(reasons, b.reason)
	}
	return reasons
}

const (
	// rapid is the age up to which the reset of a stream counts. Slower ones are bounded
	// by the number of streams at a time: a client whose deadlines pass is no attacker.
	rapid = time.Second
	// shortFragment is the length below which a fragment of a head counts. Longer ones are
	// bounded by the size of heads.
	shortFragment = 1 << 10
	// maxOpen bounds the streams that are followed. It is far above the number that a
	// server allows at a time, so only streams that it ignores are beyond.
	maxOpen = 1 << 10
)

// account is the state of a connection's budgets. Times are those of any clock that does
// not go back. newAccount makes one.
type account struct {
	left [kinds]float64
	at   [kinds]time.Duration     // when left was brought up to date
	open map[uint32]time.Duration // the streams that have not ended, and when each began
	last uint32                   // the highest stream of the client
}

func newAccount(now time.Duration) account {
	a := account{open: map[uint32]time.Duration{}}
	for k, b := range budgets {
		a.left[k], a.at[k] = b.burst, now
	}
	return a
}

// spend takes one frame off the budget of k; it reports whether there was one left.
func (a *account) spend(k kind, now time.Duration) bool {
	a.earn(k, (now-a.at[k]).Seconds()*budgets[k].perSecond)
	a.at[k] = now
	if a.left[k] < 1 {
		return false
	}
	a.left[k]--
	return true
}

// earn adds n frames to the budget of k.
func (a *account) earn(k kind, n float64) { a.left[k] = min(a.left[k]+n, budgets[k].burst) }

// received judges a frame of the client. If the budget of its kind is used up, ok is false.
func (a *account) received(f frame, now time.Duration) (k kind, ok bool) {
	switch f.typ {
	case typeData:
		if _, open := a.open[f.stream]; !open {
			k = late
		} else if f.length > f.padding || f.has(flagEndStream) {
			a.earn(ping, 1) // clients measure the bandwidth with pings
			return 0, true
		} else {
			k = empty
		}
	case typeHeaders:
		return reset, a.begin(f.stream, now)
	case typeContinuation:
		if f.length >= shortFragment || f.has(flagEndHeaders) {
			return 0, true
		}
		k = continuation
	case typeReset:
		began, open := a.open[f.stream]
		delete(a.open, f.stream)
		if open && now-began >= rapid {
			return 0, true
		}
		k = reset
	case typeSettings:
		k = settings
	case typePing:
		k = ping
	case typePriority:
		k = priority
	case typeWindowUpdate:
		k = windowUpdate
	default:
		k = extension
	}
	return k, a.spend(k, now)
}

// begin follows a new stream. A client may adjust each one's priority and window.
func (a *account) begin(stream uint32, now time.Duration) (ok bool) {
	if stream <= a.last { // trailers
		return true
	}
	a.last = stream
	a.earn(priority, 2)
	a.earn(extension, 2) // PRIORITY_UPDATE is one
	a.earn(windowUpdate, 2)
	if len(a.open) >= maxOpen {
		return a.spend(reset, now)
	}
	a.open[stream] = now
	return true
}

// sent notes a frame of the server. It returns false if the frame resets a stream for a
// fault of the client, and the budget of resets is used up: a client can have the server
// reset its streams as well as do so itself (CVE-2025-8671).
func (a *account) sent(f frame, now time.Duration) (k kind, ok bool) {
	switch f.typ {
	case typeData:
		if f.length > 0 {
			a.earn(ping, 1)
			a.earn(windowUpdate, 4+float64(f.length>>10)) // of stream and connection; some clients send one for each KiB
		}
	case typeReset:
		switch f.code {
		case codeNone, codeInternal, codeCancel: // the server's own reasons
		default:
			if _, open := a.open[f.stream]; open {
				a.end(f.stream)
				return reset, a.spend(reset, now)
			}
		}
		a.end(f.stream)
		return 0, true
	case typeHeaders:
	default:
		return 0, true
	}
	if _, open := a.open[f.stream]; open && f.has(flagEndStream) {
		a.end(f.stream)
		a.earn(reset, 1)
	}
	return 0, true
}

// end forgets a stream that the server has ended. More of its body may be on the way.
func (a *account) end(stream uint32) {
	if _, open := a.open[stream]; open {
		delete(a.open, stream)
		a.earn(late, 64)
	}
}
