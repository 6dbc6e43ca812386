package local

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/store"
)

// An event tells which policy refused its request, and which shadow rules would have.
func TestLimitsOfEvents(t *testing.T) {
	many := make([]string, 16)
	for i := range many {
		many[i] = fmt.Sprintf("%02d%s", i, strings.Repeat("x", 62))
	}
	for name, c := range map[string]struct {
		in   *store.EventLimits
		want *store.EventLimits // nil: as it is
	}{
		"none":    {nil, nil},
		"refused": {&store.EventLimits{Policy: "chat", Limit: 600, Left: 2}, nil},
		"budget":  {&store.EventLimits{Policy: "budget", Limit: 1 << 60}, nil},
		"shared":  {&store.EventLimits{Policy: "minute", Limit: 60, Shared: &store.EventShare{Here: 1, Elsewhere: 1 << 62, Asked: 3}}, nil},
		"would":   {&store.EventLimits{WouldRefuse: []string{"dry", "dry.2"}}, nil},
		"long":    {&store.EventLimits{Policy: strings.Repeat("p", 99), WouldRefuse: many}, &store.EventLimits{Policy: strings.Repeat("p", maxPolicy), WouldRefuse: many[:7]}},
	} {
		for _, path := range []string{"", "/v1/chat"} {
			o := &Observation{Status: 429, Method: "GET", Key: "key_a", Trail: Trail{Path: path, Limits: c.in}}
			v := appendRequest(nil, o, true)
			if len(v) > maxValue || len(v) > recordBound(o) {
				t.Errorf("%s: %d bytes, more than %d or %d", name, len(v), maxValue, recordBound(o))
			}
			d := &decoder{prefix: "evt_"}
			e, err := d.event("acct_a", 1, 2, v)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == nil {
				want = c.in
			}
			if !reflect.DeepEqual(e.Request.Limits, want) || e.Request.Path != path {
				t.Errorf("%s: %+v, want %+v", name, e.Request.Limits, want)
			}
		}
	}
}

// Requests that shadow rules would have refused are counted, whether or not their events
// are kept.
func TestUsageCountsWouldRefuse(t *testing.T) {
	for name, o := range map[string]Observation{
		"kept": {Status: 200}, "management": {Status: 200, Action: "key.verify"},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, Config{})
			o.At, o.Account, o.Key, o.Units = day0, "acct_a", "key_a", 1
			for i := range 5 {
				o.Limits = nil
				if i < 2 {
					o.Limits = &store.EventLimits{WouldRefuse: []string{"dry", "dry2"}}
				}
				l.Observe(&o)
			}
			rows, err := l.Usage(UsageQuery{Account: "acct_a", Step: StepDay})
			if err != nil || len(rows) != 1 || rows[0].Would != 2 || rows[0].Requests != 5 || rows[0].Denied != 0 {
				t.Errorf("%+v, %v", rows, err)
			}
		})
	}
}
