package local

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

func TestCountFailures(t *testing.T) {
	l := open(t, Config{})
	known := denial(day0.Add(time.Minute), "default", "key_expired", 401)
	known.Key = "key_a"
	isolated := denial(day0, "default", "node_isolated", 503)
	for _, o := range []*Observation{
		admitted(day0, "default", "key_a"), isolated, known, known,
		denial(day0, "", "invalid_key", 401), denial(day0.Add(time.Hour), "", "invalid_key", 401),
		denial(day0, "acct_x", "invalid_key", 401),
	} {
		l.Observe(o)
	}
	got, err := l.CountFailures(store.EventQuery{Account: store.DefaultAccount})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range got {
		lines = append(lines, fmt.Sprint(f.Reason, " ", f.Key, " ", f.Count, " ", f.Last.Format("15:04")))
	}
	slices.Sort(lines)
	if want := []string{"invalid_key  2 01:00", "key_expired key_a 2 00:01"}; !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}
