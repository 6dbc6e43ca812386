package export

import (
	"bytes"
	"crypto/ed25519"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/ids"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}

// streamLog is a model of one stream as its writer keeps it: events of several accounts,
// sealed from time to time.
type streamLog struct {
	stream, node string
	begin, seq   uint64
	at           time.Time
	records      map[string][]chain.Record
	segments     map[string][]chain.Segment
	states       map[string]chain.State
	open         map[string]*chain.Open
	heads        []chain.Head
	key          ed25519.PrivateKey
	since        int64 // of every account
}

func newLog(stream, node string) *streamLog {
	return &streamLog{stream: stream, node: node, begin: 1, at: noon, records: map[string][]chain.Record{}, segments: map[string][]chain.Segment{},
		states: map[string]chain.State{}, open: map[string]*chain.Open{}, key: keyOf(1)}
}

func (l *streamLog) add(account, name string) {
	l.seq++
	l.at = l.at.Add(7 * time.Millisecond)
	id := string(ids.Append([]byte(l.stream), l.seq, ids.Uint64Len))
	if l.stream == chain.Changes {
		id = string(ids.Append([]byte("evt_"), l.seq, ids.Uint64Len+4))
	}
	r := chain.Record{0: id, 1: strconv.FormatUint(l.seq, 10), 2: l.at.Format(chain.TimeFormat), 3: "create", 4: "request",
		7: name, 8: account, 11: "success", 13: "203.0.113.7", 15: "=curl\n\"8\"", 17: "POST", 19: "200", 20: "1.25", 21: `{"after":{"name":"x"}}`, 25: l.at.Format(chain.TimeFormat)}
	l.records[account] = append(l.records[account], r)
	if l.open[account] == nil {
		l.open[account] = new(chain.Open)
		l.states[account] = chain.Genesis(l.stream, account, l.begin)
	}
	l.open[account].Add(l.seq, l.at.UnixMilli(), r.Leaf(chain.NewEncoder()))
}

// seal ends the segments and signs a head.
func (l *streamLog) seal() {
	var list []chain.Account
	for account, open := range l.open {
		if open.Len() > 0 {
			g := open.Seal()
			g.Marks = bytes.Clone(g.Marks)
			l.segments[account] = append(l.segments[account], g)
			l.states[account] = l.states[account].Next(&g)
		}
		list = append(list, chain.Account{Account: account, State: l.states[account], Since: l.since})
	}
	chain.SortAccounts(list)
	h := chain.Head{Stream: l.stream, Node: l.node, Number: uint64(len(l.heads) + 1), Time: l.at, Seq: l.seq, Begin: l.begin, Accounts: int64(len(list)), Root: chain.AccountsRoot(list)}
	if n := len(l.heads); n > 0 {
		h.Previous = l.heads[n-1].Hash()
	}
	h.Sign(l.key)
	l.heads = append(l.heads, h)
}

func (l *streamLog) accounts() (list []chain.Account) {
	for account, s := range l.states {
		list = append(list, chain.Account{Account: account, State: s, Since: l.since})
	}
	chain.SortAccounts(list)
	return list
}

// kept is the head file that an account would have been given now.
func (l *streamLog) kept(t testing.TB, account string) chain.HeadFile {
	t.Helper()
	path, err := chain.PathTo(l.accounts(), account)
	if err != nil {
		t.Fatal(err)
	}
	s := l.states[account]
	return chain.HeadFile{Account: account, Keys: []chain.Key{chain.NewKey(keyOf(1), nil, noon)},
		Data: []chain.KeptHead{{Head: l.heads[len(l.heads)-1], State: &s, Since: l.since, Path: &path}}}
}

// view is an export: the events and the proof.
type view struct {
	records []chain.Record
	hashes  []string
	proof   *chain.Proof
}

// export makes the export of an account's events that show selects, without the first
// expired segments.
func export(t testing.TB, account string, expired int, show func(*chain.Record) bool, logs ...*streamLog) *view {
	t.Helper()
	v := &view{proof: &chain.Proof{Version: chain.Version, Time: noon, Account: account, Order: "asc", Query: map[string]string{},
		Keys: []chain.Key{chain.NewKey(keyOf(1), nil, noon)}, Missing: []chain.Missing{}}}
	enc := chain.NewEncoder()
	for _, l := range logs {
		path, err := chain.PathTo(l.accounts(), account)
		if err != nil {
			t.Fatal(err)
		}
		c := chain.Chain{Stream: l.stream, Node: l.node, Account: account, Since: l.since, Head: &l.heads[len(l.heads)-1], Path: path, From: chain.Genesis(l.stream, account, l.begin), Segments: []chain.Shown{}}
		at := 0
		state := c.From
		for i, g := range l.segments[account] {
			state = state.Next(&g)
			part := l.records[account][at : at+int(g.Count)]
			at += int(g.Count)
			if i < expired {
				c.From = state
				continue
			}
			var shown []bool
			var leaves []chain.Hash
			for j := range part {
				shown = append(shown, show(&part[j]))
				leaves = append(leaves, part[j].Leaf(enc))
				if shown[j] {
					v.records = append(v.records, part[j])
				}
			}
			c.Segments = append(c.Segments, chain.Show(g, state, shown, leaves))
		}
		v.proof.Chains = append(v.proof.Chains, c)
	}
	slices.SortFunc(v.records, func(a, b chain.Record) int { return strings.Compare(a[2]+a[0], b[2]+b[0]) })
	for i := range v.records {
		v.hashes = append(v.hashes, v.records[i].Leaf(enc).Hex())
	}
	return v
}

func all(*chain.Record) bool { return true }

// encode writes the export in a format.
func (v *view) encode(t testing.TB, format string) []byte {
	t.Helper()
	proof, err := json.Marshal(v.proof)
	if err != nil {
		t.Fatal(err)
	}
	if format == "csv" {
		return v.csv(t, proof)
	}
	var b bytes.Buffer
	open, between, end := `{"data":[`, ",", `],"next_cursor":null,"proof":`+string(proof)+"}\n"
	if format == "ndjson" {
		open, between, end = "", "\n", "\n{\"proof\":"+string(proof)+"}\n"
	}
	b.WriteString(open)
	for i := range v.records {
		if i > 0 {
			b.WriteString(between)
		}
		b.Write(v.event(t, i))
	}
	b.WriteString(end)
	return b.Bytes()
}

func (v *view) event(t testing.TB, i int) []byte {
	r := &v.records[i]
	num := func(s string) uint64 { n, _ := strconv.ParseUint(s, 10, 64); return n }
	duration, _ := strconv.ParseFloat(r[20], 64)
	e := event{ID: r[0], Seq: num(r[1]), Time: r[2], EventType: r[3], Action: r[4], Actor: actor{r[5], r[6], r[7]}, Account: r[8], KeyID: r[9], Target: r[10],
		Outcome: r[11], Reason: r[12], IP: r[13], Country: r[14], UserAgent: r[15], Changes: []byte(r[21]), Hash: v.hashes[i], Count: num(r[27]),
		Request: request{r[16], r[17], r[22], r[18], r[23], num(r[24]), r[26], num(r[19]), duration, r[25]}}
	if r[21] == "" {
		e.Changes = []byte("null")
	}
	raw, err := json.Marshal(&e)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (v *view) csv(t testing.TB, proof []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	_ = w.Write(append(slices.Clone(chain.Columns[:]), "hash"))
	for i := range v.records {
		cells := append(slices.Clone(v.records[i][:]), v.hashes[i])
		for j, c := range cells {
			if c != "" && strings.IndexByte("=+-@\t\r\n'", c[0]) >= 0 {
				cells[j] = "'" + c
			}
		}
		_ = w.Write(cells)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "# proof %s\r\n", proof)
	return b.Bytes()
}

// someLogs are a cluster's streams with events of three accounts.
func someLogs(rnd *rand.Rand, events int) []*streamLog {
	logs := []*streamLog{newLog(chain.Changes, ""), newLog("evt_aaaaaaaa", "n1"), newLog("evt_bbbbbbbb", "n2")}
	for _, l := range logs {
		for _, a := range []string{"default", "acct_a", ""} {
			l.add(a, "first")
		}
		l.seal()
	}
	for i := range events {
		l := logs[rnd.IntN(len(logs))]
		l.add([]string{"default", "acct_a", ""}[rnd.IntN(3)], fmt.Sprint("name ", i%7))
		if rnd.IntN(9) == 0 {
			l.seal()
		}
	}
	for _, l := range logs {
		l.add("default", "last")
		l.seal()
	}
	return logs
}
