package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// rowsWith counts the rows that hold a text, in memory that queries do not filter.
func rowsWith(t *testing.T, l *Local, text string) (n int) {
	t.Helper()
	it, err := l.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if strings.Contains(string(it.Key())+string(it.Value()), text) {
			n++
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// An erasure removes an account's events, usage, failures, last uses, habits and findings, and
// what was set aside. The chain verifies, also against a head that was kept, and goes on; other
// accounts lose nothing.
func TestErase(t *testing.T) {
	now := day0.Add(100 * 24 * time.Hour)
	fs := vfs.NewMem()
	l := open(t, Config{FS: fs, Clock: func() time.Time { return now }})
	observe := func(account store.AccountID, key store.KeyID) {
		o := admitted(now, account, key)
		o.UserAgent, o.Client = "Agent-of-"+string(account), netip.MustParseAddr("192.0.2.77")
		l.Observe(o)
		d := denial(now, account, "ip_not_allowed", 403)
		d.Key = key
		l.Observe(d)
	}
	for i := range 300 {
		observe("acct_a", store.KeyID(fmt.Sprint("key_a", i%3)))
		observe("acct_b", "key_b")
		if i%10 == 0 {
			now = now.Add(7 * time.Minute)
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range []store.KeyID{"key_a0", "key_b"} {
		if err := l.Notes().SetHabit(key, []byte("habit of "+key)); err != nil {
			t.Fatal(err)
		}
		if err := l.Notes().Add(now, "fnd_"+string(key), []byte("finding of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.MkdirAll(fs.PathJoin(fs.PathDir(l.dir.path), fs.PathBase(l.dir.path)+damagedInfix+"x"), 0o700); err != nil {
		t.Fatal(err)
	}
	kept := keptHead(t, l, "acct_a")
	if n := rowsWith(t, l, "acct_a"); n < 100 {
		t.Fatalf("%d rows before: the test proves nothing", n)
	}
	err := Erase(l, Erasure{
		Account: "acct_a",
		Key:     func(k store.KeyID) bool { return strings.HasPrefix(string(k), "key_a") },
		Note:    func(n []byte) bool { return strings.Contains(string(n), "key_a") },
	})
	if err == nil {
		err = Compact(t.Context(), l)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Agent-of-acct_a", "key_a"} {
		if n := rowsWith(t, l, text); n != 0 {
			t.Errorf("%d rows still hold %s", n, text)
		}
	}
	if _, ok := l.LastUsed("key_a0"); ok {
		t.Error("the last use is still known")
	}
	if u, ok := l.LastUsed("key_b"); !ok || u.At.IsZero() {
		t.Error("another account's last use is gone")
	}
	names, err := fs.List(fs.PathDir(l.dir.path))
	if err != nil || strings.Contains(strings.Join(names, " "), damagedInfix) {
		t.Errorf("data that was set aside is still there: %v, %v", names, err)
	}
	if r, list := exported(t, l, store.EventQuery{Account: "acct_b"}); len(r.Findings) > 0 || len(list) != 600 {
		t.Errorf("acct_b: %d events, %+v", len(list), r.Findings)
	}
	if got := requestsOf(t, l, "acct_b"); got != 600 {
		t.Errorf("acct_b: %d requests in usage", got)
	}
	check := func(want int) {
		t.Helper()
		r, list := exported(t, l, store.EventQuery{Account: "acct_a"}, kept)
		before := uint64(0) // the requests and the refusals have a chain each
		for _, c := range r.Chains {
			before += c.Before
		}
		if len(r.Findings) > 0 || len(list) != want || r.Proven != want || r.Compared != 1 || before != 600 {
			t.Errorf("acct_a: %d events, %+v", len(list), r)
		}
		if got := requestsOf(t, l, "acct_a"); got != int64(want) {
			t.Errorf("acct_a: %d requests in usage, want %d", got, want)
		}
	}
	check(0)
	observe("acct_a", "key_a1")
	check(2)
	if err := Erase(l, Erasure{Account: "acct_none", Key: func(store.KeyID) bool { return false }, Note: func([]byte) bool { return false }}); err != nil {
		t.Errorf("an account without data: %v", err)
	}
	check(2)
}

// requestsOf is the number of requests of an account in all usage.
func requestsOf(t *testing.T, l *Local, account store.AccountID) (n int64) {
	t.Helper()
	rows, err := l.Usage(UsageQuery{Account: account, Step: StepDay})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		n += r.Requests
	}
	return n
}

// A reader that began before an erasure keeps the rows on the disk, and so holds it up; when it
// has ended, no file has them, and no old log is left.
func TestEraseWaitsForReaders(t *testing.T) {
	t.Parallel()
	const text = "Zr8kQw3xVb6nTy1m"
	fs := vfs.NewMem()
	l := open(t, Config{FS: fs, Clock: func() time.Time { return day0 }})
	for range 10 {
		o := admitted(day0, "acct_a", "key_a")
		o.UserAgent = text
		l.Observe(o)
	}
	reader, err := l.OpenEventLog()
	must(t, err)
	must(t, l.RollLog())
	must(t, Erase(l, Erasure{Account: "acct_a", Key: func(store.KeyID) bool { return true }, Note: func([]byte) bool { return true }}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := Compact(ctx, l); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a reader: %v", err)
	}
	must(t, reader.Close())
	must(t, Compact(t.Context(), l))
	logs := 0
	for _, name := range list(t, fs, "data/local") {
		f, err := fs.Open("data/local/" + name)
		must(t, err)
		raw, err := io.ReadAll(f)
		must(t, errors.Join(err, f.Close()))
		if bytes.Contains(raw, []byte(text)) {
			t.Errorf("%s holds erased data", name)
		}
		if strings.HasSuffix(name, ".log") {
			logs++
		}
	}
	if logs != 1 {
		t.Errorf("%d logs are left", logs)
	}
}
