package store

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The rows of a batch and a map are given the same random writes, and must agree on
// every look-up before and after each commit. A scan sees the committed rows only.
func TestPendingAgreesWithModel(t *testing.T) {
	h := empty(t)
	rapid.Check(t, func(rt *rapid.T) {
		if err := h.db.DeleteRange([]byte{0}, beyondRows, nil); err != nil {
			rt.Fatal(err)
		}
		p := newPending(h.database)
		committed, now := map[string]string{}, map[string]string{}
		name := rapid.StringMatching("[a-d][0-2]")
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			row, value := name.Draw(rt, "row"), name.Draw(rt, "value")
			switch rapid.SampledFrom([]string{"put", "put", "get", "get", "delete", "commit", "abandon"}).Draw(rt, "step") {
			case "put":
				b := []byte(value)
				p.put([]byte(row), b)
				clear(b) // the caller uses its buffer again
				now[row] = value
			case "delete":
				p.delete([]byte(row))
				delete(now, row)
			case "get":
				value, ok := now[row]
				if got := p.get([]byte(row)); string(got) != value || (got != nil) != ok {
					rt.Fatalf("row %s is %q, want %q, %v", row, got, value, ok)
				}
			case "commit":
				if err := p.closeIter(); err != nil {
					rt.Fatal(err)
				}
				if err := p.batch.Commit(nil); err != nil {
					rt.Fatal(err)
				}
				if err := p.renew(); err != nil {
					rt.Fatal(err)
				}
				if n := len(p.over); n != 0 {
					rt.Fatalf("%d rows are kept in memory after a commit", n)
				}
				committed = maps.Clone(now)
			case "abandon":
				if err := p.close(); err != nil {
					rt.Fatal(err)
				}
				p = newPending(h.database)
				now = maps.Clone(committed)
			}
			scanned := map[string]string{}
			p.scan([]byte{0}, beyondRows, func(row, value []byte) error { scanned[string(row)] = string(value); return nil })
			if !maps.Equal(scanned, committed) {
				rt.Fatalf("a scan gives %v, %v are committed", scanned, committed)
			}
		}
		if err := p.close(); err != nil || p.err != nil {
			rt.Fatal(err, p.err)
		}
	})
}

// The first fault of a batch stays, look-ups and scans find nothing after it, and rows
// that the batch itself has written can still be read.
func TestPendingFault(t *testing.T) {
	h := begun(t)
	p := newPending(h.database)
	defer p.close()
	p.put([]byte("a1"), []byte("new"))
	first := fmt.Errorf("first")
	p.fault(first)
	p.fault(fmt.Errorf("second"))
	if p.err != first {
		t.Errorf("the fault is %v", p.err)
	}
	if got := p.get(settingsRow); got != nil {
		t.Errorf("a committed row is %q", got)
	}
	if got := p.get([]byte("a1")); string(got) != "new" {
		t.Errorf("a row of the batch is %q", got)
	}
	p.scan([]byte{0}, beyondRows, func(row, _ []byte) error { t.Errorf("row %q was scanned", row); return nil })
	if p.err != first {
		t.Errorf("after a scan the fault is %v", p.err)
	}
	if p.json(func() {}); p.err != first {
		t.Errorf("after a value that is no JSON: %v", p.err)
	}
	q := newPending(h.database)
	defer q.close()
	if q.json(func() {}); q.err == nil {
		t.Error("a value that is no JSON was encoded")
	}
}

// A draft shows the batch's accounts, tiers and settings; readers see them when they
// are published, all those of the batch and no others.
func TestDraft(t *testing.T) {
	h := begun(t)
	for _, id := range []AccountID{"acct_a", "acct_b"} {
		h.must(&Command{Change: &AccountCreate{Account: Account{ID: id, Tier: "pro"}}})
	}
	tx := h.begin()
	defer tx.rows.close()
	d := &tx.state
	accounts := func() string {
		var list []string
		d.eachAccount(func(state *AccountState) {
			list = append(list, fmt.Sprintf("%s:%s:%d", state.ID, state.Tier, state.Limit[Live].PerMinute))
		})
		slices.Sort(list)
		return fmt.Sprint(list)
	}
	readers := func() string {
		var list []string
		page, _ := h.Accounts("", 100)
		for _, a := range page {
			state := h.Cell(a.ID).Load()
			list = append(list, fmt.Sprintf("%s:%s:%d", a.ID, a.Tier, state.Limit[Live].PerMinute))
		}
		return fmt.Sprint(list)
	}
	before := readers()
	account := func(id AccountID, tier string) *AccountState {
		return newRuleCompiler(nil).newState(&Account{ID: id, Tier: tier}, d.tier(tier), nil)
	}
	for i, step := range []struct {
		change func()
		want   string
	}{
		{func() {}, "[acct_a:pro:300 acct_b:pro:300 default:free:60]"},
		{func() { d.putAccount(account("acct_c", "pro")) }, "[acct_a:pro:300 acct_b:pro:300 acct_c:pro:300 default:free:60]"},
		{func() { d.putTier(&Tier{Name: "pro", Live: *limitOf(7, 1)}) }, "[acct_a:pro:7 acct_b:pro:7 acct_c:pro:7 default:free:60]"},
		{func() { d.endAccount("acct_a") }, "[acct_b:pro:7 acct_c:pro:7 default:free:60]"},
		{func() { d.putTier(&Tier{Name: "pro", Live: *limitOf(8, 1)}) }, "[acct_b:pro:8 acct_c:pro:8 default:free:60]"}, // none comes back
		{func() { d.putTier(&Tier{Name: "new", Live: *limitOf(9, 1)}) }, "[acct_b:pro:8 acct_c:pro:8 default:free:60]"},
		{func() { d.putAccount(account("acct_b", "new")) }, "[acct_b:new:9 acct_c:pro:8 default:free:60]"},
		{func() { d.endAccount("acct_c") }, "[acct_b:new:9 default:free:60]"},
		{func() { d.removeTier("enterprise") }, "[acct_b:new:9 default:free:60]"},
	} {
		step.change()
		if got := accounts(); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
		if got := readers(); got != before {
			t.Errorf("step %d: readers see %s", i, got)
		}
		n := bytes.Count([]byte(step.want), []byte(":")) / 2
		if !d.full(n) || !d.full(n-1) || d.full(n+1) {
			t.Errorf("step %d: full is %v, %v, %v around %d accounts", i, d.full(n-1), d.full(n), d.full(n+1), n)
		}
	}
	if d.account("acct_a") != nil || d.account("acct_b").Limit[Live].PerMinute != 9 || d.account("acct_none") != nil {
		t.Error("a look-up of an account is not that of the list")
	}
	if d.tier("enterprise") != nil || h.Tier("enterprise") == nil || d.tier("new") == nil || h.Tier("new") != nil {
		t.Error("the tiers of the batch and of readers are mixed up")
	}
	set := *d.set()
	set.DefaultTier = "new"
	d.putSettings(set)
	if d.set().DefaultTier != "new" || h.DefaultTier() != "free" {
		t.Errorf("the default tier is %s, for readers %s", d.set().DefaultTier, h.DefaultTier())
	}
	if tx.rows.err != nil {
		t.Fatal(tx.rows.err)
	}
	cell := h.Cell("acct_b")
	d.publish()
	if got := readers(); got != "[acct_b:new:9 default:free:60]" || h.Cell("acct_b") != cell || h.DefaultTier() != "new" || h.Tier("enterprise") != nil {
		t.Errorf("published: %s, default tier %s", got, h.DefaultTier())
	}
	if len(d.accounts) != 0 || d.tiers != nil || d.settings != nil {
		t.Error("the next batch begins with changes")
	}
}

// The clocks of a command, in hours after the epoch: the time of the command, the
// leader's wall clock (0: no stamp), and the last round of the sweeper (0: none); then
// what each of them says and, last, cluster time.
func TestMoment(t *testing.T) {
	hours := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }
	const week = MinRetention * 24
	for _, c := range []struct {
		name            string
		cluster         int // cluster time before; 0: none
		at, wall, swept int
		now, atWall     int
		kept            int
		after           int // cluster time; 0: none
	}{
		{"never stamped", 0, 5, 0, 0, 5, 5, 5, 0},
		{"never stamped, swept", 0, 5, 0, 3, 5, 5, 5, 0},
		{"the first stamp", 0, 5, 6, 0, 6, 6, 5, 6},
		{"the first stamp, swept before", 0, 5, 6, 4, 4, 6, 5, 4},
		{"the first stamp, swept in its future", 0, 5, 6, 9, 6, 6, 5, 6},
		{"no stamp after one", 10, 12, 0, 0, 10, 12, 12, 10},
		{"a wall clock behind", 10, 12, 8, 0, 8, 8, 12, 10},
		{"a wall clock ahead", 10, 12, 99, 0, 10, 99, 12, 10},
		{"a command of a week ago", 500, 500 - week, 600, 0, 500, 600, 500 - week, 500},
		{"an older command", 500, 500 - week - 1, 600, 0, 500, 600, 500, 500},
		{"an older command without a stamp", 500, 100, 0, 0, 500, 100, 500, 500},
	} {
		var m moment
		if c.cluster != 0 {
			m.clock = clock{now: hours(c.cluster).UnixNano(), term: 1}
		}
		cmd := &Command{At: hours(c.at).In(time.FixedZone("", 3600))}
		if c.wall != 0 {
			cmd.Stamp = Stamp{Wall: hours(c.wall).UnixNano()}
		}
		var swept time.Time
		if c.swept != 0 {
			swept = hours(c.swept)
		}
		m.begin(cmd, 2, swept)
		if !m.now().Equal(hours(c.now)) || !m.wall().Equal(hours(c.atWall)) || !m.keptFrom().Equal(hours(c.kept)) {
			t.Errorf("%s: now %v, wall %v, kept from %v", c.name, m.now().Sub(epoch), m.wall().Sub(epoch), m.keptFrom().Sub(epoch))
		}
		after := int64(0)
		if c.after != 0 {
			after = hours(c.after).UnixNano()
		}
		if m.clock.now != after {
			t.Errorf("%s: cluster time is %v, want %v", c.name, timeOf(m.clock.now).Sub(epoch), timeOf(after).Sub(epoch))
		}
		for _, at := range []time.Time{m.at, m.now(), m.wall(), m.keptFrom()} {
			if at.Location() != time.UTC {
				t.Errorf("%s: %v is not in UTC", c.name, at)
			}
		}
	}
}

// Repeated tells of a command that it will be answered with a stored result: for the
// same body only, for as long as the result is kept.
func TestRepeated(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	once := &Once{Scope: hashOf("scope"), Body: hashOf("body")}
	h.must(&Command{Once: once, Change: &KeyUpdate{ID: "key_a", Name: ptr("b")}})
	refused := &Once{Scope: hashOf("refused"), Body: hashOf("body")}
	h.refused(NotFound, &Command{Once: refused, Change: &KeyRevoke{ID: "key_none"}})
	at := h.at.Add(-time.Second) // of the command that was remembered
	for _, c := range []struct {
		name string
		once Once
		now  time.Time
		want bool
	}{
		{"at once", *once, at, true},
		{"to the end", *once, at.Add(OnceRetention - 1), true},
		{"after it", *once, at.Add(OnceRetention), false},
		{"another body", Once{Scope: once.Scope, Body: hashOf("other")}, at, false},
		{"another scope", Once{Scope: hashOf("other"), Body: once.Body}, at, false},
		{"a refused command", *refused, at, false},
	} {
		if got, err := h.Repeated(&c.once, c.now); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if err := h.db.Set(named(rowOnce, once.Scope[:]), []byte("{"), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Repeated(once, at); got || err == nil {
		t.Errorf("a damaged row: %v, %v", got, err)
	}
}

// A result that is too old is replaced by that of the next command, whose own time
// counts from then on, even where the sweeper has not come to the old one.
func TestOnceIsReplaced(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	command := func(at time.Time, name string) Result {
		return h.must(&Command{At: at, Once: &Once{Scope: hashOf("s"), Body: hashOf("b")}, Change: &KeyUpdate{ID: "key_a", Name: ptr(name)}})
	}
	first := h.at.Add(time.Second)
	command(first, "one")
	// Older than the first by its clock: the sweeper stands still, the result is kept.
	if r := command(first.Add(OnceRetention-1), "two"); !r.Repeat {
		t.Error("a repeat within the retention was applied")
	}
	second := first.Add(OnceRetention)
	if r := command(second, "three"); r.Repeat || r.Key.Name != "three" {
		t.Errorf("a repeat after the retention: %+v", r)
	}
	if n, ages := rowsIn(t, h, rowOnce), rowsIn(t, h, rowOnceAge); n != 1 || ages != 1 {
		t.Errorf("%d results, %d by age", n, ages)
	}
	if r := command(second.Add(OnceRetention-1), "four"); !r.Repeat || r.Key.Name != "three" {
		t.Errorf("a repeat of the second: %+v", r)
	}
}
