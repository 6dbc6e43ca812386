package export

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/perfgate/perfgate/store/chain"
)

var formats = []string{"json", "ndjson", "csv"}

func verify(t testing.TB, raw []byte, trust chain.Trust) *chain.Report {
	t.Helper()
	r, err := Verify(bytes.NewReader(raw), trust)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A whole export is proven in each format, with filters, expired segments and kept heads.
func TestWhole(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	logs := someLogs(rnd, 400)
	kept := logs[1].kept(t, "acct_a")
	for range 100 {
		logs[rnd.IntN(3)].add("acct_a", "later")
	}
	for _, l := range logs {
		l.seal()
	}
	for name, show := range map[string]func(*chain.Record) bool{
		"all": all, "some": func(r *chain.Record) bool { return r[7] == "name 3" }, "none": func(*chain.Record) bool { return false },
	} {
		for _, expired := range []int{0, 3} {
			if expired > 0 {
				for _, l := range logs { // one more head says that they are gone
					l.since = l.at.UnixMilli()
					l.seal()
				}
			}
			v := export(t, "acct_a", expired, show, logs...)
			for _, format := range formats {
				r := verify(t, v.encode(t, format), chain.Trust{Kept: []chain.HeadFile{kept}})
				if len(r.Findings) > 0 || r.Proven != len(v.records) || r.Events != len(v.records) || r.Compared != 1 {
					t.Errorf("%s, %d expired, %s: %d events: %+v", name, expired, format, len(v.records), r)
				}
				for _, c := range r.Chains {
					if want := v.proof.Chains[slices.IndexFunc(v.proof.Chains, func(o chain.Chain) bool { return o.Stream == c.Stream })].From.Events; c.Before != want || expired > 0 && want == 0 {
						t.Errorf("%s: %d events before, want %d", c.Stream, c.Before, want)
					}
				}
			}
		}
	}
}

// tampering changes an export, and says which event must be named; "" for any.
type tampering struct {
	name string
	do   func(*rand.Rand, *view) (id string)
}

// names of findings that a reader may see for an event in a place: the event itself, or
// the one before it where it is missing.
func before(v *view, i int) string {
	at := chain.StreamOf(v.records[i][0])
	for j := i - 1; j >= 0; j-- {
		if chain.StreamOf(v.records[j][0]) == at {
			return v.records[j][0]
		}
	}
	for j := i + 1; j < len(v.records); j++ {
		if chain.StreamOf(v.records[j][0]) == at {
			return v.records[j][0]
		}
	}
	return ""
}

var tamperings = []tampering{
	{"flip", func(rnd *rand.Rand, v *view) string {
		i, col := rnd.IntN(len(v.records)), []int{3, 4, 7, 11, 13, 15, 17, 19, 20, 21, 25}[rnd.IntN(11)]
		forged := map[int]string{19: "201", 20: "1.5", 21: `{"after":{"name":"y"}}`, 25: "2027-01-31T13:00:00.000Z"}
		if v.records[i][col] += "x"; forged[col] != "" {
			v.records[i][col] = forged[col]
		}
		return v.records[i][0]
	}},
	{"flip and hash again", func(rnd *rand.Rand, v *view) string {
		i := rnd.IntN(len(v.records))
		v.records[i][13] = "198.51.100.9"
		v.hashes[i] = v.records[i].Leaf(chain.NewEncoder()).Hex()
		return v.records[i][0]
	}},
	{"drop", func(rnd *rand.Rand, v *view) string {
		i := rnd.IntN(len(v.records))
		id := before(v, i)
		v.records, v.hashes = slices.Delete(v.records, i, i+1), slices.Delete(v.hashes, i, i+1)
		return id
	}},
	{"swap", func(rnd *rand.Rand, v *view) string {
		i := rnd.IntN(len(v.records) - 1)
		j := i + 1 + rnd.IntN(len(v.records)-i-1)
		v.records[i], v.records[j] = v.records[j], v.records[i]
		v.hashes[i], v.hashes[j] = v.hashes[j], v.hashes[i]
		return v.records[i][0]
	}},
	{"cut", func(rnd *rand.Rand, v *view) string {
		n := 1 + rnd.IntN(len(v.records)-1)
		v.records, v.hashes = v.records[:n], v.hashes[:n]
		return ""
	}},
	{"add", func(rnd *rand.Rand, v *view) string {
		i := rnd.IntN(len(v.records))
		r := v.records[i]
		r[7] = "forged"
		v.records, v.hashes = slices.Insert(v.records, i+1, r), slices.Insert(v.hashes, i+1, r.Leaf(chain.NewEncoder()).Hex())
		return r[0]
	}},
	{"drop a segment with its proof", func(rnd *rand.Rand, v *view) string {
		c := longChain(rnd, v, 1)
		k := rnd.IntN(len(c.Segments))
		g := c.Segments[k]
		c.Segments = slices.Delete(c.Segments, k, k+1)
		for i := len(v.records) - 1; i >= 0; i-- {
			if seq := seqOf(v.records[i][1]); chain.StreamOf(v.records[i][0]) == c.Stream && seq >= g.First && seq <= g.Last {
				v.records, v.hashes = slices.Delete(v.records, i, i+1), slices.Delete(v.hashes, i, i+1)
			}
		}
		return ""
	}},
	{"cut the beginning with its proof", func(rnd *rand.Rand, v *view) string {
		c := longChain(rnd, v, 2)
		g := c.Segments[0]
		c.From = c.From.Next(&g.Segment)
		c.Segments = c.Segments[1:]
		for i := len(v.records) - 1; i >= 0; i-- {
			if seq := seqOf(v.records[i][1]); chain.StreamOf(v.records[i][0]) == c.Stream && seq <= g.Last {
				v.records, v.hashes = slices.Delete(v.records, i, i+1), slices.Delete(v.hashes, i, i+1)
			}
		}
		return ""
	}},
	{"prove again without the key", func(rnd *rand.Rand, v *view) string {
		c := &v.proof.Chains[rnd.IntN(len(v.proof.Chains))]
		c.Head.Sign(keyOf(9))
		return ""
	}},
}

// longChain picks one of the chains with at least n segments; someLogs makes two in each.
func longChain(rnd *rand.Rand, v *view, n int) *chain.Chain {
	var long []*chain.Chain
	for i := range v.proof.Chains {
		if c := &v.proof.Chains[i]; len(c.Segments) >= n {
			long = append(long, c)
		}
	}
	return long[rnd.IntN(len(long))]
}

func seqOf(s string) (n uint64) {
	for _, c := range s {
		n = n*10 + uint64(c-'0')
	}
	return n
}

// Every way to tamper with an export is found, and the first bad event is named.
func TestTampering(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, tamper := range tamperings {
		t.Run(tamper.name, func(t *testing.T) {
			for i := range 25 {
				v := export(t, "default", 0, all, someLogs(rnd, 60)...)
				for _, c := range v.proof.Chains {
					h := *c.Head
					c.Head = &h
				}
				want := tamper.do(rnd, v)
				r := verify(t, v.encode(t, formats[i%3]), chain.Trust{Key: chain.NewKey(keyOf(1), nil, noon).ID})
				if len(r.Findings) == 0 {
					t.Fatalf("round %d: not found", i)
				}
				if want != "" && r.Findings[0].ID != want {
					t.Fatalf("round %d: named %+v, want %s", i, r.Findings[0], want)
				}
			}
		})
	}
}

// Somebody who holds the key rewrites, cuts or rolls back a log and signs it again. The
// export fits itself; a head that was kept finds it.
func TestRewritten(t *testing.T) {
	build := func(changed int, n int) *streamLog {
		l := newLog("evt_aaaaaaaa", "n1")
		for i := range n {
			name := "honest"
			if i == changed {
				name = "forged"
			}
			l.add("default", name)
			if i%5 == 4 {
				l.seal()
			}
		}
		l.seal()
		return l
	}
	kept := build(-1, 30).kept(t, "default")
	later := build(-1, 40)
	if r := verify(t, export(t, "default", 0, all, later).encode(t, "ndjson"), chain.Trust{Kept: []chain.HeadFile{kept}}); len(r.Findings) > 0 || r.Compared != 1 {
		t.Fatalf("an honest log: %+v", r)
	}
	for _, c := range []struct {
		name string
		log  *streamLog
		id   string // that is named
	}{
		{"rewritten", build(27, 40), "evt_aaaaaaaa0000000000Q"},
		{"rolled back", build(-1, 20), "evt_aaaaaaaa0000000000K"},
		{"rolled back and gone on", build(25, 33), ""},
	} {
		raw := export(t, "default", 0, all, c.log).encode(t, "json")
		if r := verify(t, raw, chain.Trust{}); len(r.Findings) > 0 {
			t.Errorf("%s: found without a kept head: %+v", c.name, r.Findings)
		}
		r := verify(t, raw, chain.Trust{Kept: []chain.HeadFile{kept}})
		if len(r.Findings) == 0 || r.Findings[0].Kind != chain.Rewound || c.id != "" && r.Findings[0].ID != c.id {
			t.Errorf("%s: %+v", c.name, r.Findings)
		}
	}
	// The stream is not there at all.
	r := verify(t, export(t, "default", 0, all, newSealed(chain.Changes)).encode(t, "json"), chain.Trust{Kept: []chain.HeadFile{kept}})
	if len(r.Findings) != 1 || r.Findings[0].Kind != chain.Cut {
		t.Errorf("without its stream: %+v", r.Findings)
	}
}

func newSealed(stream string) *streamLog {
	l := newLog(stream, "")
	l.add("default", "x")
	l.seal()
	return l
}

// A file that is cut, or changed in any byte, is never whole. Bytes that carry no
// meaning are left alone.
func TestEveryByte(t *testing.T) {
	logs := someLogs(rand.New(rand.NewPCG(3, 4)), 20)
	for _, format := range formats {
		raw := export(t, "default", 0, all, logs...).encode(t, format)
		end := bytes.LastIndex(raw, []byte("proof"))
		for i := 3; i < end; i += 41 {
			if r := verify(t, raw[:i], chain.Trust{}); len(r.Findings) == 0 {
				t.Fatalf("%s cut after %d of %d bytes is whole", format, i, len(raw))
			}
			if c := raw[i]; c < '0' || c > '9' {
				continue
			}
			changed := bytes.Clone(raw)
			changed[i] = '0' + (raw[i]-'0'+1)%10
			if r := verify(t, changed, chain.Trust{}); len(r.Findings) == 0 {
				t.Fatalf("%s with byte %d changed is whole: …%s…", format, i, raw[max(0, i-40):min(len(raw), i+40)])
			}
		}
	}
}

// Events of before the chain are counted, not proven; the error of a reader is one.
func TestUnchainedAndErrors(t *testing.T) {
	l := newLog("evt_aaaaaaaa", "n1")
	l.begin = 3
	l.add("default", "old")
	l.add("default", "old")
	delete(l.open, "default")
	l.add("default", "new")
	l.seal()
	old := l.records["default"][:2]
	l.records["default"] = l.records["default"][2:]
	v := export(t, "default", 0, all, l)
	v.records, v.hashes = append(slices.Clone(old), v.records...), append([]string{"", ""}, v.hashes...)
	for _, format := range formats {
		if r := verify(t, v.encode(t, format), chain.Trust{}); len(r.Findings) > 0 || r.Unchained != 2 || r.Proven != 1 {
			t.Errorf("%s: %+v", format, r)
		}
	}
	gone := errors.New("gone")
	if _, err := Verify(io.MultiReader(strings.NewReader(`{"data":[`), iotest.ErrReader(gone)), chain.Trust{}); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

// Nothing that is read makes the reader panic, or looks whole.
func FuzzVerify(f *testing.F) {
	logs := someLogs(rand.New(rand.NewPCG(5, 6)), 5)
	for _, format := range formats {
		f.Add(export(f, "default", 0, all, logs...).encode(f, format))
	}
	f.Add([]byte("id,seq\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := verify(t, raw, chain.Trust{Key: "ask_none"})
		if len(r.Findings) == 0 && r.Proven > 0 {
			t.Errorf("events are proven without a trusted key: %+v", r)
		}
	})
}
