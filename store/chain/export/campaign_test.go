package export

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/perfgate/perfgate/store/chain"
)

// step is one step in the life of a stream: an event of an account, or a seal.
type step struct{ account, name string }

var seal = step{}

// life is what happens in each stream of a cluster of three nodes; it is built as often as needed.
type life map[string][]step

var streamNames = []string{chain.Changes, "evt_aaaaaaaa", "evt_bbbbbbbb", "evt_cccccccc"}

func newLife(rnd *rand.Rand) life {
	out := life{}
	for _, stream := range streamNames {
		var steps []step
		for i := range 12 + rnd.IntN(20) {
			steps = append(steps, step{[]string{"default", "default", "acct_a"}[rnd.IntN(3)], fmt.Sprint("name ", i)})
			if rnd.IntN(4) == 0 {
				steps = append(steps, seal)
			}
		}
		out[stream] = append([]step{{"default", "first"}, {"acct_a", "first"}}, append(steps, seal)...)
	}
	return out
}

func (f life) build() (logs []*streamLog) {
	for i, stream := range streamNames {
		l := newLog(stream, []string{"", "n1", "n2", "n3"}[i])
		for _, s := range f[stream] {
			if s == seal {
				l.seal()
			} else {
				l.add(s.account, s.name)
			}
		}
		l.seal()
		logs = append(logs, l)
	}
	return logs
}

func (f life) clone() life {
	out := life{}
	for stream, steps := range f {
		out[stream] = slices.Clone(steps)
	}
	return out
}

// own are the places of the events of the account "default".
func own(steps []step) (at []int) {
	for i, s := range steps {
		if s.account == "default" {
			at = append(at, i)
		}
	}
	return at
}

// rewrite tampers with a stream as somebody does who then signs all again.
func (f life) rewrite(rnd *rand.Rand, kind, stream string) {
	steps := f[stream]
	at := own(steps)
	i := at[rnd.IntN(len(at)-1)]
	switch kind {
	case "flip":
		steps[i].name += "x"
	case "drop":
		steps = slices.Delete(steps, i, i+1)
	case "swap":
		j := at[1+slices.Index(at, i)]
		steps[i], steps[j] = steps[j], steps[i]
	case "cut":
		steps = steps[:max(i, 1)]
	case "roll back": // and on from there, with as many other events
		n := len(steps)
		steps = append(steps[:max(i, 1)], seal)
		for len(steps) <= n {
			steps = append(steps, step{"default", "later"}, seal)
		}
	}
	f[stream] = steps
}

// alter tampers with a node's rows as somebody does who cannot sign. It names the first event that
// is not as it was, or "" where the end is missing.
func alter(rnd *rand.Rand, kind string, l *streamLog, v *view) string {
	var at []int
	for i := range v.records {
		if chain.StreamOf(v.records[i][0]) == l.stream {
			at = append(at, i)
		}
	}
	n := rnd.IntN(len(at) - 1)
	i := at[n]
	remove := func(list []int) {
		for _, i := range slices.Backward(list) {
			v.records, v.hashes = slices.Delete(v.records, i, i+1), slices.Delete(v.hashes, i, i+1)
		}
	}
	hash := func(i int) { v.hashes[i] = v.records[i].Leaf(chain.NewEncoder()).Hex() }
	id := v.records[i][0]
	switch kind {
	case "flip":
		v.records[i][15] += "x"
		hash(i)
	case "drop":
		id = before(v, i)
		remove(at[n : n+1])
	case "swap": // the contents, so that the order of the file is right
		a, b := &v.records[i], &v.records[at[n+1]]
		a[7], b[7] = b[7], a[7]
		hash(i)
		hash(at[n+1])
	case "cut", "roll back":
		id = ""
		remove(at[n+1:])
	}
	return id
}

// A campaign of random tampering with the logs of one node or of all: rows are changed without the
// key and found by the signed heads, naming the first bad event; or the log is rewritten and signed
// again with it, and found by heads that were kept elsewhere. Honest logs are always whole.
func TestTamperCampaign(t *testing.T) {
	runs := 20
	if os.Getenv("PERFGATE_TORTURE") != "" {
		runs = 200
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %d tamperings", seed, runs)
	rnd := rand.New(rand.NewPCG(seed, 0))
	kinds := []string{"flip", "drop", "swap", "cut", "roll back"}
	for run := range runs {
		f := newLife(rnd)
		honest := f.build()
		kept := chain.HeadFile{Account: "default", Keys: []chain.Key{chain.NewKey(keyOf(1), nil, noon)}}
		for _, l := range honest {
			kept.Data = append(kept.Data, l.kept(t, "default").Data...)
		}
		format := formats[run%len(formats)]
		trust := chain.Trust{Kept: []chain.HeadFile{kept}}
		if r := verify(t, export(t, "default", 0, all, honest...).encode(t, format), trust); len(r.Findings) > 0 || r.Compared != len(honest) {
			t.Fatalf("run %d: an honest log: %+v", run, r)
		}
		kind, everywhere, signs := kinds[run%len(kinds)], run/len(kinds)%2 == 1, run/(2*len(kinds))%2 == 1
		streams := streamNames
		if !everywhere {
			streams = streamNames[rnd.IntN(len(streamNames)):][:1]
		}
		name := fmt.Sprintf("run %d: %s in %v, signed again: %v", run, kind, streams, signs)
		if signs {
			forged := f.clone()
			for _, stream := range streams {
				forged.rewrite(rnd, kind, stream)
			}
			raw := export(t, "default", 0, all, forged.build()...).encode(t, format)
			r := verify(t, raw, trust)
			for _, stream := range streams {
				if !slices.ContainsFunc(r.Findings, func(f chain.Finding) bool { return f.Stream == stream }) {
					t.Errorf("%s: nothing is found in %s: %+v", name, stream, r.Findings)
				}
			}
			continue
		}
		v := export(t, "default", 0, all, honest...)
		var want []string
		for _, l := range honest {
			if slices.Contains(streams, l.stream) {
				want = append(want, alter(rnd, kind, l, v))
			}
		}
		r := verify(t, v.encode(t, format), chain.Trust{Key: kept.Keys[0].ID})
		for i, stream := range streams {
			n := slices.IndexFunc(r.Findings, func(f chain.Finding) bool { return f.Stream == stream })
			if n < 0 || want[i] != "" && r.Findings[n].ID != want[i] {
				t.Errorf("%s: %s is not named in %s: %+v", name, want[i], stream, r.Findings)
			}
		}
	}
}
