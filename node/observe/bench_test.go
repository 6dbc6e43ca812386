package observe

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Ninety days of 10,000 keys (KEYS) on three nodes, one request of each on each day and node,
// asked of one of them. The others' answers are encoded as between processes, and all three
// share the processors.
func BenchmarkNinetyDays(b *testing.B) {
	keys := 10_000
	if s := os.Getenv("KEYS"); s != "" {
		var err error
		if keys, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	nodes := map[string]*Nodes{}
	for _, name := range []string{"n1", "n2", "n3"} {
		nodes[name] = New(Config{
			Local: ninetyDays(b, name, keys), Logger: slog.New(slog.DiscardHandler),
			Others: func() (others []store.Member) {
				for id := range nodes {
					if id != name {
						others = append(others, store.Member{ID: id, Name: id})
					}
				}
				return others
			},
			Ask: func(ctx context.Context, id string, body []byte) ([]byte, error) { return nodes[id].Serve(ctx, body) },
		})
	}
	for _, c := range []struct {
		name string
		q    local.UsageQuery
	}{
		{"all", local.UsageQuery{Step: local.StepDay}},
		{"by country", local.UsageQuery{Step: local.StepDay, GroupBy: local.ByCountry}},
		{"by key of 4 days", local.UsageQuery{Step: local.StepDay, GroupBy: local.ByKey, From: begin.AddDate(0, 0, 86)}},
		{"hours of one key", local.UsageQuery{Step: local.StepHour, Key: "key_0123456789abcdefgh77"}},
	} {
		c.q.Account = "default"
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				rows, missing, err := nodes["n1"].Usage(b.Context(), c.q)
				if err != nil || len(rows) == 0 || len(missing) > 0 {
					b.Fatal(len(rows), missing, err)
				}
			}
		})
	}
}

func ninetyDays(b *testing.B, node string, keys int) *local.Local {
	var day atomic.Int64 // of the clock; the node begins before all of it
	l, err := local.Open(local.Config{
		FS: vfs.Default, Dir: b.TempDir(), Node: node, Requests: local.RequestsOff, Logger: slog.New(slog.DiscardHandler),
		Clock: func() time.Time { return begin.AddDate(0, 0, int(day.Load())) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	for d := range 90 {
		day.Store(int64(d + 1))
		for k := range keys {
			l.Observe(&local.Observation{
				At: begin.AddDate(0, 0, d), Method: "GET", Route: "/", Status: 200, Account: "default", Units: 1,
				Key: store.KeyID("key_0123456789abcdefgh" + strconv.Itoa(k)), Client: netip.MustParseAddr("203.0.113.7"), Trail: local.Trail{Country: "DE"},
			})
		}
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	return l
}
