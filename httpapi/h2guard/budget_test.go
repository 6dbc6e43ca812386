package h2guard

import (
	"testing"
	"time"
)

// step is a number of equal frames at a time since the start of a connection, and how many
// of them are within the budget.
type step struct {
	at    time.Duration
	sent  bool // by the server
	frame frame
	n, ok int
}

const second = time.Second

var (
	open     = frame{typ: typeHeaders, flags: flagEndHeaders, stream: 1}
	answer   = frame{typ: typeHeaders, flags: flagEndHeaders | flagEndStream, stream: 1}
	chunk    = frame{typ: typeData, stream: 1, length: 16 << 10}
	lastData = frame{typ: typeData, flags: flagEndStream, stream: 1}
	cancel   = frame{typ: typeReset, stream: 1, length: 4, code: codeCancel}
	fault    = frame{typ: typeReset, stream: 1, length: 4, code: 1}
)

func of(typ byte, stream uint32, length int) frame {
	return frame{typ: typ, stream: stream, length: length}
}

// Each kind has its burst, and its rate after that. Progress pays.
func TestBudgets(t *testing.T) {
	for name, steps := range map[string][]step{
		"settings":           {{0, false, of(typeSettings, 0, 6), 200, 100}, {second, false, of(typeSettings, 0, 0), 200, 10}},
		"pings":              {{0, false, of(typePing, 0, 8), 900, 500}, {second, false, of(typePing, 0, 8), 900, 50}},
		"priorities":         {{0, false, of(typePriority, 9, 5), 2000, 1000}, {second, false, of(typePriority, 9, 5), 2000, 100}},
		"window updates":     {{0, false, of(typeWindowUpdate, 0, 4), 2000, 1000}, {second, false, of(typeWindowUpdate, 1, 4), 2000, 100}},
		"unknown types":      {{0, false, of(0x42, 1, 4), 2000, 1000}, {second, false, of(typeGoAway, 0, 8), 2000, 100}},
		"empty data":         {{0, false, open, 1, 1}, {0, false, of(typeData, 1, 0), 200, 100}, {second, false, frame{typ: typeData, stream: 1, length: 4, padding: 4}, 200, 10}},
		"data":               {{0, false, open, 1, 1}, {0, false, of(typeData, 1, 1), 9999, 9999}},
		"late data":          {{0, false, of(typeData, 1, 100), 9999, 2000}, {second, false, of(typeData, 1, 100), 9999, 200}},
		"continuations":      {{0, false, of(typeContinuation, 1, 0), 100, 100}, {0, false, of(typeContinuation, 1, 1023), 9, 0}, {second, false, of(typeContinuation, 1, 0), 99, 10}},
		"long continuations": {{0, false, of(typeContinuation, 1, 1024), 9999, 9999}, {0, false, frame{typ: typeContinuation, flags: flagEndHeaders, stream: 1}, 9999, 9999}},
		"no budget is above its burst, however long it waits": {{time.Hour, false, of(typePing, 0, 8), 900, 500}},

		"the body's end is no empty data": {{0, false, open, 1, 1}, {0, false, lastData, 9999, 9999}},
		"answers pay for window updates":  {{0, false, of(typeWindowUpdate, 0, 4), 1000, 1000}, {0, true, chunk, 10, 10}, {0, false, of(typeWindowUpdate, 0, 4), 999, 200}},
		"answers pay for pings":           {{0, false, of(typePing, 0, 8), 500, 500}, {0, true, chunk, 10, 10}, {0, false, of(typePing, 0, 8), 99, 10}},
		"bodies pay for pings":            {{0, false, open, 1, 1}, {0, false, of(typePing, 0, 8), 500, 500}, {0, false, chunk, 10, 10}, {0, false, of(typePing, 0, 8), 99, 10}},

		"resets of streams that are none":       {{0, false, cancel, 600, 500}, {second, false, cancel, 600, 50}},
		"a late reset is free":                  {{0, false, open, 1, 1}, {second, false, cancel, 1, 1}, {second, false, cancel, 600, 500}},
		"an early one is not":                   {{0, false, open, 1, 1}, {second - 1, false, cancel, 1, 1}, {second - 1, false, cancel, 600, 499}},
		"an answer pays for a reset":            {{0, false, cancel, 500, 500}, {0, false, open, 1, 1}, {0, true, answer, 1, 1}, {0, true, answer, 9, 9}, {0, false, cancel, 9, 1}},
		"the server's resets for faults":        {{0, false, cancel, 500, 500}, {0, false, open, 1, 1}, {0, true, fault, 1, 0}},
		"the server's others are free":          {{0, false, cancel, 500, 500}, {0, false, open, 1, 1}, {0, true, cancel, 1, 1}},
		"those of ended streams are free":       {{0, false, cancel, 500, 500}, {0, true, fault, 9, 9}},
		"a stream that ends pays for late data": {{0, false, of(typeData, 3, 9), 2000, 2000}, {0, false, open, 1, 1}, {0, true, lastData, 1, 1}, {0, false, of(typeData, 1, 9), 99, 64}},
	} {
		a := newAccount(0)
		for i, s := range steps {
			ok := 0
			for range s.n {
				judge := a.received
				if s.sent {
					judge = a.sent
				}
				if _, good := judge(s.frame, s.at); good {
					ok++
				}
			}
			if ok != s.ok {
				t.Errorf("%s, step %d: %d of %d frames are within the budget, want %d", name, i+1, ok, s.n, s.ok)
			}
		}
	}
}

// A client that opens streams which the server ignores cannot have them followed for ever.
func TestFollowedStreamsAreBounded(t *testing.T) {
	a := newAccount(0)
	opened := 0
	for id := uint32(1); ; id += 2 {
		if _, ok := a.received(frame{typ: typeHeaders, stream: id}, 0); !ok {
			break
		}
		opened++
	}
	if want := maxOpen + int(budgets[reset].burst); opened != want || len(a.open) != maxOpen {
		t.Errorf("%d streams are opened and %d followed, want %d and %d", opened, len(a.open), want, maxOpen)
	}
}

// Reasons name each budget once.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if r == "" || seen[r] {
			t.Errorf("the reason %q is there twice, or empty", r)
		}
		seen[r] = true
	}
	if len(seen) != int(kinds)+1 {
		t.Errorf("%d reasons", len(seen))
	}
}
