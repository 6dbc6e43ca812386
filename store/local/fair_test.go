package local

import (
	"fmt"
	"hash/maphash"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
)

// kinds of records: what an account sends.
var kinds = map[string]func(store.AccountID) *Observation{
	"requests": func(a store.AccountID) *Observation { return admitted(day0, a, "key_a") },
	"denials":  func(a store.AccountID) *Observation { return denial(day0, a, "key_revoked", 401) },
}

// queued sends n of an account's records of one kind, and returns how many events of
// them were kept.
func queued(l *Local, kind string, a store.AccountID, n int) int {
	before := l.Dropped()
	for range n {
		l.Observe(kinds[kind](a))
	}
	return n - int(l.Dropped()-before)
}

// A flood of one account, of denials or requests, fills the queue while the writer
// stands still, and no other account loses an event, whatever it sends. A flood
// of unknown keys, which have no account, is no exception.
func TestFloodInQueue(t *testing.T) {
	const flood, quiet = 20_000, 200
	for _, of := range []store.AccountID{"acct_flood", ""} {
		for sent := range kinds {
			for victim := range kinds {
				t.Run(fmt.Sprintf("%s of %q/%s of others", sent, of, victim), func(t *testing.T) {
					l := stalled(t, 64<<10)
					kept := queued(l, sent, of, flood)
					if kept > flood*3/4 {
						t.Fatalf("%d of %d records were kept: the test tests nothing", kept, flood)
					}
					for _, a := range []store.AccountID{"acct_a", "acct_b"} {
						if n := queued(l, victim, a, quiet); n != quiet {
							t.Errorf("%d of %d events of %s were kept", n, quiet, a)
						}
					}
					go l.run()
					got := map[store.AccountID]int{}
					for _, e := range collect(t, l, store.EventQuery{}) {
						if e.Action != ActionDropped {
							got[e.Account]++
						}
					}
					if got["acct_a"] != quiet || got["acct_b"] != quiet || got[of] != kept {
						t.Errorf("on disk %v, want %d of each quiet account and %d of the flood", got, quiet, kept)
					}
					if n := total(t, l, StepDay); n != 0 { // of "default": nobody's
						t.Errorf("%d requests of an account that sent none", n)
					}
					rows, err := l.Usage(UsageQuery{Account: of, Step: StepDay})
					if err != nil || len(rows) != 1 || rows[0].Requests != flood {
						t.Errorf("usage of the flood %+v, %v; want %d requests", rows, err, flood)
					}
				})
			}
		}
	}
}

// Floods of many accounts at the same time leave room for the others too, and share the
// rest.
func TestManyFloodsInQueue(t *testing.T) {
	const floods, each, quiet = 10, 4000, 40
	l := stalled(t, 64<<10)
	kept := make([]int, floods)
	for range each {
		for i := range kept {
			kept[i] += queued(l, "denials", store.AccountID(fmt.Sprintf("acct_%d", i)), 1)
		}
	}
	least, most := kept[0], kept[0]
	for _, n := range kept {
		least, most = min(least, n), max(most, n)
	}
	if least == 0 || most > 2*least {
		t.Errorf("the floods kept %v events", kept)
	}
	for kind := range kinds {
		if n := queued(l, kind, store.AccountID("acct_"+kind), quiet); n != quiet {
			t.Errorf("%d of %d %s of a quiet account were kept", n, quiet, kind)
		}
	}
	go l.run()
}

// An account that is alone has nearly all the room, and its requests leave room for
// its denials; once the writer took its turn, all of it is there again.
func TestRoomOfOneAccount(t *testing.T) {
	l := stalled(t, 64<<10)
	bytes := func() (n int) {
		for i := range l.queue.shards {
			n += len(l.queue.shards[i].buf)
		}
		return n
	}
	const all = queueShards * 64 << 10
	for turn := range 3 {
		for l.queue.push(admitted(day0, "default", "key_a"), 1, recEvent) {
		}
		requests := bytes()
		for l.queue.push(denial(day0, "default", "key_revoked", 401), 1, recEvent|recDenied) {
		}
		denials := bytes() - requests
		// A request is tried in two shards only, so the others may have some room.
		if requests < all*60/100 || requests > all*67/100 || denials < all*22/100 || denials > all*28/100 {
			t.Errorf("turn %d: requests took %d and denials %d of %d bytes", turn, requests, denials, all)
		}
		must(t, l.w.write(false, false))
	}
	go l.run()
}

// While a flood comes from several connections and the writer keeps up as it can, a
// quiet account loses nothing.
func TestFloodBesideWriter(t *testing.T) {
	const quiet = 2000
	l := ticking(t, Config{})
	stop := make(chan struct{})
	var floods sync.WaitGroup
	for range 3 {
		floods.Go(func() {
			o := denial(day0, "acct_flood", "key_revoked", 401)
			for {
				select {
				case <-stop:
					return
				default:
					l.Observe(o)
				}
			}
		})
	}
	wait(t, "the flood to lose events", func() bool { return l.Dropped() > 1000 })
	for i := range quiet {
		o := kinds["requests"]("acct_a")
		if i%2 == 0 {
			o = kinds["denials"]("acct_a")
		}
		l.Observe(o)
	}
	close(stop)
	floods.Wait()
	if n := len(collect(t, l, store.EventQuery{Account: "acct_a"})); n != quiet {
		t.Errorf("%d of %d events of the quiet account were kept", n, quiet)
	}
}

// A shard decides as a plain count of each account's bytes does, except that a count may
// be too high; it never holds more than its size.
func TestSharesLikeCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4 << 10, 16 << 10, 64 << 10}).Draw(t, "size")
		var s shares
		seed, used, requests := maphash.MakeSeed(), 0, 0
		exact := [2]map[string]int{{}, {}}
		for range rapid.IntRange(1, 400).Draw(t, "records") {
			name := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "account")
			class := rapid.IntRange(0, 1).Draw(t, "class")
			need := rapid.IntRange(40, 600).Draw(t, "bytes")
			account, have := maphash.String(seed, name), exact[class][name]
			left, share := size-used-need, 2
			if class == 0 {
				left, share = min(left, size*3/4-requests-need), 7
			}
			got, want := s.room(account, class == 1, used, need, size), left >= 0 && have+need <= share*left
			count := s.of[class].count(account)
			if count < have || count == have && got != want || got && !want {
				t.Fatalf("%d bytes of %q in class %d beside %d of %d: room %v, want %v; counted %d, has %d",
					need, name, class, used, size, got, want, count, have)
			}
			if !got {
				continue
			}
			s.add(account, class == 1, need)
			exact[class][name] += need
			if used += need; class == 0 {
				requests += need
			}
		}
		if used > size || requests > size*3/4 {
			t.Fatalf("%d bytes are held, %d of them requests, of %d", used, requests, size)
		}
	})
}

// The counts of two accounts mix only where both slots are the same: of many, hardly any.
func TestSketchSeparatesAccounts(t *testing.T) {
	var s sketch
	seed := maphash.MakeSeed()
	s.add(maphash.String(seed, "acct_flood"), 1<<20)
	mixed := 0
	for i := range 10_000 {
		if s.count(maphash.String(seed, fmt.Sprint("acct_", i))) > 0 {
			mixed++
		}
	}
	if mixed > 20 { // one in 65,536 is expected
		t.Errorf("%d of 10,000 accounts have the flood's count", mixed)
	}
}
