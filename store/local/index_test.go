package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// indexedData is a random log of some accounts, keys and callers, in tables of several levels
// and in memory. Some rows are those of a version that had no index.
func indexedData(t *testing.T, rnd *rand.Rand, n int) *Local {
	t.Helper()
	now := day0
	l := written(t, vfs.NewMem(), &now, Config{})
	for i := range n {
		o := admitted(now, pick[store.AccountID](rnd, "default", "acct_a", "acct_b"), store.KeyID(fmt.Sprint("key_", rnd.IntN(4))))
		o.Method, o.Status = pick(rnd, "GET", "POST", "PATCH", "DELETE"), pick(rnd, 200, 200, 200, 502)
		o.RequestID = fmt.Sprint("r", rnd.Uint64()) // for blocks of few events
		switch rnd.IntN(12) {
		case 0: // rare ones
			o.Key = store.KeyID(fmt.Sprint("key_rare", rnd.IntN(20)))
		case 1:
			o.Key, o.Management, o.Action = "", true, pick(rnd, "key.list", "audit.read")
			o.Actor = store.Actor{Type: store.ActorUser, ID: fmt.Sprint("usr_", rnd.IntN(9)), Name: pick(rnd, "", "Ann")}
		case 2:
			o = denial(now, pick[store.AccountID](rnd, "", "acct_a", "acct_b"), "key_revoked", 401)
		}
		l.Observe(o)
		now = now.Add(time.Duration(rnd.IntN(9)) * time.Second)
		switch at := i * 10 / n; {
		case i%400 == 0:
			must(t, l.Flush())
			unindex(t, l, rnd)
			if at < 9 {
				must(t, l.db.Flush())
			}
		case i == n/2:
			must(t, l.Flush())
			must(t, l.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
		}
	}
	must(t, l.Flush())
	return l
}

func pick[T any](rnd *rand.Rand, list ...T) T { return list[rnd.IntN(len(list))] }

// unindex makes some of the newest rows those of an earlier version.
func unindex(t *testing.T, l *Local, rnd *rand.Rand) {
	t.Helper()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowEvent}, UpperBound: []byte{rowStray + 1}})
	must(t, err)
	b := l.db.NewBatch()
	for ok := it.Last(); ok && rnd.IntN(5) > 0; ok = it.Prev() {
		p, _ := parsePlace(it.Key())
		must(t, b.Delete(it.Key(), nil))
		must(t, b.Set(eventKey(nil, p.account, p.ns, p.seq), it.Value(), nil))
	}
	must(t, it.Close())
	must(t, b.Commit(nil))
}

// Every query gives the same events with the index as a comparison of all events does, in both
// orders and page by page.
func TestIndexGivesTheSameEvents(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	l := indexedData(t, rnd, 4000)
	all := collect(t, l, store.EventQuery{})
	if len(all) != 4000 {
		t.Fatalf("%d events", len(all))
	}
	found := 0
	for range 400 {
		q := store.EventQuery{
			Account: pick[store.AccountID](rnd, "", "default", "acct_a", "acct_none", store.Operators),
			Newest:  pick(rnd, true, false), WithOperators: pick(rnd, false, false, true),
			Key:       pick[store.KeyID](rnd, "", "", "key_1", "key_none", store.KeyID(fmt.Sprint("key_rare", rnd.IntN(20)))),
			EventType: pick(rnd, "", "", "", store.EventRead, store.EventDelete, "other"),
			User:      pick(rnd, "", "", "", "", "usr_1", "Ann", "key_2", "pk_live_0123…STUV", "nobody"),
			Action:    pick(rnd, "", "", "", "", ActionRequest, "key.list", "none"),
			Outcome:   pick(rnd, "", "", "", store.Success, store.Denied, store.Failed),
		}
		if rnd.IntN(3) == 0 {
			q.From = day0.Add(time.Duration(rnd.IntN(5)) * time.Hour)
		}
		if rnd.IntN(3) == 0 {
			q.To = day0.Add(time.Duration(rnd.IntN(5)) * time.Hour)
		}
		var want []string
		for _, e := range all {
			if q.Account == store.Operators && e.Account != "" {
				continue
			}
			plain := q
			if q.Account == store.Operators {
				plain.Account = ""
			}
			if plain.Matches(e) {
				want = append(want, e.ID)
			}
		}
		if q.Newest {
			slices.Reverse(want)
		}
		var got []string
		for page := q; ; {
			n := 0
			for e, err := range l.Events(page) {
				must(t, err)
				got, page.After = append(got, e.ID), store.EventPos{Time: e.Time, ID: e.ID}
				if n++; n == 100 {
					break
				}
			}
			if n < 100 {
				break
			}
		}
		if found += len(got); !slices.Equal(got, want) {
			t.Fatalf("%+v: %d events, want %d", q, len(got), len(want))
		}
	}
	if found < 1000 {
		t.Errorf("the queries found %d events; they tell nothing", found)
	}
}

// A query for a key, a caller or an action reads few of the blocks.
func TestIndexSkipsBlocks(t *testing.T) {
	now := day0
	l := written(t, vfs.NewMem(), &now, Config{})
	for i := range 6000 {
		o := admitted(now, "default", store.KeyID(fmt.Sprint("key_", i%7)))
		o.RequestID = fmt.Sprint("request", i)
		switch i {
		case 1500:
			o.Key = "key_once"
		case 2500:
			o.Key, o.Management, o.Action, o.Actor = "", true, "audit.read", store.Actor{Type: store.ActorUser, ID: "usr_1", Name: "Ann"}
		case 3500:
			o.Method = "DELETE"
		case 4500:
			o.Status = 502
		case 5500:
			o.Account = "acct_quiet"
		}
		l.Observe(o)
		now = now.Add(time.Second)
	}
	must(t, l.Flush())
	must(t, l.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
	read := func(w *wanted) (rows int, bytes uint64) {
		o := &pebble.IterOptions{LowerBound: []byte{rowEvent}, UpperBound: []byte{rowEvent + 1}}
		w.filter(o)
		it, err := l.db.NewIter(o)
		must(t, err)
		defer it.Close()
		for ok := it.Last(); ok; ok = it.Prev() {
			rows++
		}
		must(t, it.Error())
		stats := it.Stats()
		return rows, stats.InternalStats.BlockBytes
	}
	_, whole := read(nil)
	for name, q := range map[string]store.EventQuery{
		"key": {Key: "key_once"}, "caller": {User: "usr_1"}, "name": {User: "Ann"}, "action": {Action: "audit.read"},
		"type": {EventType: store.EventDelete}, "outcome": {Outcome: store.Failed}, "account": {Account: "acct_quiet"},
	} {
		if rows, bytes := read(wantedBy(&q, rowEvent)); rows != 1 || bytes*10 > whole {
			t.Errorf("%s: %d rows out of %d bytes of blocks; there are %d", name, rows, bytes, whole)
		}
	}
}

// A summary of more than it can hold says that its part may hold anything.
func TestSummaryBounds(t *testing.T) {
	for _, n := range []int{0, 1, 50, maxTableTokens, maxTableTokens + 1} {
		s := newSummarizer()
		for i := range n {
			key, err := appendTokens(eventKey(nil, "acct_a", uint64(i), uint64(i)), appendRequest(nil, admitted(day0, "acct_a", store.KeyID(fmt.Sprint("key_", i))), true), nil, "n")
			must(t, err)
			must(t, s.AddPointKey(pebble.InternalKey{UserKey: key}, nil))
			if i%30 == 29 || i == n-1 {
				_, err := s.FinishDataBlock(nil)
				must(t, err)
				s.AddPrevDataBlockToIndexBlock()
			}
		}
		index, err := s.FinishIndexBlock(nil)
		must(t, err)
		table, err := s.FinishTable(nil)
		must(t, err)
		for _, summary := range [][]byte{index, table} {
			if len(summary) > 2*maxTableTokens {
				t.Errorf("%d keys: a summary of %d bytes", n, len(summary))
			}
			found, err := wantedBy(&store.EventQuery{Account: "acct_a", Key: "key_0"}, rowEvent).Intersects(summary)
			must(t, err)
			other, err := wantedBy(&store.EventQuery{Account: "acct_z", Key: "key_z"}, rowEvent).Intersects(summary)
			must(t, err)
			if found != (n > 0) || other != (n >= maxTableTokens) { // the account is a token, too
				t.Errorf("%d keys: found %v, another %v", n, found, other)
			}
		}
	}
}
