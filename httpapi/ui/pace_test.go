package ui

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// TestPace extends the use of a month to its end.
func TestPace(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		now         string
		limit, left int64
		month       int64
		full        string
		spent       bool
	}{
		{"2026-11-16 00:00:00", 1000, 900, 200, "", false},
		{"2026-11-16 00:00:00", 1000, 250, 1500, "2026-11-21", false},
		{"2026-11-16 00:00:00", 1000, 0, 2000, "", true},
		{"2026-11-01 00:00:01", 1_000_000, 999_990, 7200, "", false}, // the first hour is taken whole
		{"2026-02-28 23:59:59", 1000, 1, 999, "", false},
	} {
		n := func(v int64) json.Number { return json.Number(fmt.Sprint(v)) }
		p := newPace([]client.Policy{{Policy: "minute", Limit: n(60), Remaining: n(1)}, {Policy: "month", Limit: n(c.limit), Remaining: n(c.left)}}, at(c.now))
		full := ""
		if p.Full != nil {
			full = p.Full.Format(time.DateOnly)
		}
		if p.Month != c.month || full != c.full || p.Spent() != c.spent || p.Used != c.limit-c.left {
			t.Errorf("%s, %d of %d left: %+v, full %q", c.now, c.left, c.limit, p, full)
		}
	}
	if newPace([]client.Policy{{Policy: "month", Limit: "1000", Remaining: "1000"}}, at("2026-11-16 00:00:00")) != nil || newPace(nil, at("2026-11-16 00:00:00")) != nil {
		t.Error("a pace without use or without a limit")
	}
}
