package admit

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

const (
	// maxWelch is the bound of |t|, as in "Dude, is my code constant time?": beyond it the two
	// kinds of calls differ. Without a difference one run in 150,000 exceeds it.
	maxWelch = 4.5
	// kept is the share of calls that count: the slowest of both kinds are interruptions.
	kept = 0.9
	// costly is how many times fewer calls there are of one that hashes a password.
	costly = 100
)

// timed is a pair of calls whose times must not differ. i is the number of the call.
type timed struct {
	name       string
	one, other func(i int)
	share      int  // one call of so many; 0 is all
	open       bool // the two answers differ, so their times may differ, too
}

// BenchmarkTiming compares the times of calls whose difference would tell a secret, interleaved
// at random, by Welch's t. CALLS is how many (20,000); "make bench-timing" has 200,000.
// PERFGATE_SEED repeats the order. Beyond maxWelch it fails.
func BenchmarkTiming(b *testing.B) {
	calls := 20_000
	if n, err := strconv.Atoi(os.Getenv("CALLS")); err == nil {
		calls = n
	}
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("PERFGATE_SEED"), 10, 64); err == nil {
		seed = n
	}
	b.Logf("PERFGATE_SEED=%d", seed)
	for _, p := range slices.Concat(keyChecks(b, calls), secondFactors(), signatures(), passwords(b)) {
		b.Run(p.name, func(b *testing.B) {
			n := calls / max(1, p.share)
			for b.Loop() {
				one, other := measure(&p, n, rand.New(rand.NewPCG(seed, 0)))
				t := welch(one, other)
				b.ReportMetric(t, "welch-t")
				b.ReportMetric(mean(one), "ns/one")
				b.ReportMetric(mean(other), "ns/other")
				b.ReportMetric(float64(n), "calls")
				if math.Abs(t) >= maxWelch && !p.open {
					b.Errorf("t is %.1f over %d calls: the time tells the two apart", t, n)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// measure times n calls, after a tenth as many that do not count.
func measure(p *timed, n int, order *rand.Rand) (one, other []float64) {
	var times [2][]float64
	var all []float64
	for i := -n / 10; i < n; i++ {
		kind, call := order.IntN(2), p.one
		if kind == 1 {
			call = p.other
		}
		began := time.Now()
		call(i + n)
		took := float64(time.Since(began))
		if i >= 0 {
			times[kind] = append(times[kind], took)
			all = append(all, took)
		}
	}
	slices.Sort(all)
	most := all[int(kept*float64(len(all)-1))]
	for kind := range times {
		times[kind] = slices.DeleteFunc(times[kind], func(took float64) bool { return took > most })
	}
	return times[0], times[1]
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// welch is Welch's t of two samples.
func welch(x, y []float64) float64 {
	spread := func(x []float64, m float64) (s float64) {
		for _, v := range x {
			s += (v - m) * (v - m)
		}
		n := float64(len(x))
		return s / (n - 1) / n
	}
	mx, my := mean(x), mean(y)
	return (mx - my) / math.Sqrt(spread(x, mx)+spread(y, my))
}

// maxProbes is how many keys of each kind are shown in turn, at most. Each has a place of its own
// in the store, to which the way may be longer: of few keys, the means would differ.
const maxProbes = 20_000

// keyChecks are checks of keys that are not known. Near ones have hashes that differ in the last
// bit alone from that of a key which is.
func keyChecks(b *testing.B, calls int) []timed {
	h := newHarness(b)
	probes := min(max(1, calls/2), maxProbes)
	kind := func(plant func(secret string) *http.Request) func(int) {
		list := make([]*h1.Request, probes)
		for i := range list {
			list[i] = h1.RequestOf(plant(apikey.New(apikey.LivePrefix)))
		}
		ctx := context.Background()
		return func(i int) {
			var from [4]byte // many addresses: one that fails is refused before its key is looked at
			binary.BigEndian.PutUint32(from[:], uint32(i)*2654435761)
			h.Gate.Check(ctx, list[i%probes], netip.AddrFrom4(from), chat, noon)
		}
	}
	near := func(secret string, revoked bool) *http.Request {
		id := store.KeyID(ids.New("key_"))
		h.key(func(k *store.Key) {
			k.ID, k.Hash = id, apikey.Hash(h.store.Pepper(), secret)
			k.Hash[len(k.Hash)-1] ^= 1
		})
		if revoked {
			h.apply(&store.Command{Change: &store.KeyRevoke{ID: id}})
		}
		return post(secret, nil)
	}
	far := func(secret string) *http.Request { return post(secret, nil) }
	valid := func(secret string) *http.Request { return near(secret, false) }
	gone := func(secret string) *http.Request { return near(secret, true) }
	itself := func(string) *http.Request {
		id := store.KeyID(ids.New("key_"))
		secret := h.key(func(k *store.Key) { k.ID = id })
		h.apply(&store.Command{Change: &store.KeyRevoke{ID: id}})
		return post(secret, nil)
	}
	code := func(r *http.Request) fault.Code {
		_, f := h.Gate.Check(context.Background(), h1.RequestOf(r), here, chat, noon)
		return f.Code
	}
	return []timed{
		{name: "unknown key, hash near a valid one", one: kind(far), other: kind(valid)},
		{name: "unknown key, hash near a revoked one", one: kind(far), other: kind(gone)},
		{name: "hash near a valid one, a revoked one", one: kind(valid), other: kind(gone)},
		{name: "unknown key, revoked key", one: kind(far), other: kind(itself), open: code(far(apikey.New(apikey.LivePrefix))) != code(itself(""))},
	}
}

// secondFactors are checks of wrong codes: one with another first digit, one with another last.
func secondFactors() []timed {
	secret := []byte("12345678901234567890")
	right := ""
	for n := range 1_000_000 {
		s := strconv.Itoa(1_000_000 + n)[1:]
		if signin.CheckCode(secret, s, 0, noon) > 0 {
			right = s
			break
		}
	}
	other := func(at int) string {
		c := []byte(right)
		c[at] = '0' + (c[at]-'0'+5)%10
		return string(c)
	}
	first, last := other(0), other(len(right)-1)
	return []timed{{
		name: "code with another first digit, last digit",
		one:  func(int) { signin.CheckCode(secret, first, 0, noon) }, other: func(int) { signin.CheckCode(secret, last, 0, noon) },
	}}
}

// signatures are those of deliveries, by two secrets. Receivers verify them.
func signatures() []timed {
	body := make([]byte, 1024)
	sign := func(secret string) func(int) {
		return func(int) { webhook.Sign(http.Header{}, webhook.Secrets{Current: secret}, "msg_1", noon, body) }
	}
	return []timed{{
		name: "signature by one secret, another",
		one:  sign("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), other: sign(webhook.NewSecret()),
	}}
}

// passwords are wrong passwords of a user, and of an address without a user.
func passwords(b *testing.B) []timed {
	hashes, ctx := signin.NewHashes(), context.Background()
	hash, err := hashes.New(ctx, "the right password")
	if err != nil {
		b.Fatal(err)
	}
	try := func(hash string) func(int) {
		return func(int) {
			if ok, err := hashes.Verify(ctx, hash, "a wrong password"); ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	}
	return []timed{{name: "wrong password of a user, of nobody", one: try(hash), other: try(""), share: costly}}
}
