package store

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the state as one would write it down: maps and lists, no rows, no
// batches, no cache. It knows keys, idempotency, months and events' actions.
type model struct {
	keys    map[KeyID]*Key
	order   []KeyID
	once    map[Hash]outcome
	granted map[string]int64
	events  []string

	generation uint64 // of the pepper
	rotating   bool
	revived    uint64 // index at which a key under the retired pepper was prolonged
}

// hashUnder is the hash of a secret under the pepper of a generation.
func hashUnder(name string, generation uint64) Hash {
	if generation == 0 {
		return hashOf(name)
	}
	return hashOf(fmt.Sprint(name, generation))
}

// outcome is the result that the model expects of a command.
type outcome struct {
	at   time.Time
	body Hash
	no   Reason
	key  KeyID
}

func (m *model) apply(c *Command, index uint64) (want outcome, repeat bool) {
	if c.Once != nil {
		if first, ok := m.once[c.Once.Scope]; ok && c.At.Sub(first.at) < OnceRetention {
			if first.body != c.Once.Body {
				return outcome{no: IdempotencyMismatch}, false
			}
			return first, true
		}
	}
	want = m.change(c, index)
	if c.Once != nil && want.no == "" {
		want.at, want.body = c.At, c.Once.Body
		m.once[c.Once.Scope] = want
	}
	return want, false
}

func (m *model) add(k Key, c *Command, index uint64) *Key {
	k.CreatedAt, k.CreatedBy, k.Account = c.At, c.Actor.ID, c.Account
	k.Created, k.Modified = index, index
	k.Scopes = slices.Sorted(slices.Values(k.Scopes))
	m.keys[k.ID] = &k
	m.order = append(m.order, k.ID)
	return &k
}

func (m *model) taken(id KeyID, h Hash) bool {
	for _, k := range m.keys {
		if k.ID == id || k.Hash == h {
			return true
		}
	}
	return false
}

func (m *model) note(action string, id KeyID) { m.events = append(m.events, action+" "+string(id)) }

func (m *model) change(c *Command, index uint64) outcome {
	switch in := c.Change.(type) {
	case *PepperRotate, *PepperFinish, *KeysRehash:
		return m.turn(c)
	case *KeyCreate:
		if in.Key.Generation != m.generation || m.taken(in.Key.ID, in.Key.Hash) {
			return outcome{no: Conflict}
		}
		m.add(in.Key, c, index)
		m.note("key.create", in.Key.ID)
		return outcome{key: in.Key.ID}
	case *KeyUpdate:
		return m.update(in, c, index)
	case *KeyRotate:
		return m.rotate(in, c, index)
	case *KeyRevoke:
		k := m.keys[in.ID]
		if k == nil || k.Account != c.Account {
			return outcome{no: NotFound}
		}
		m.revoke(k, in.Reason, c, index)
		return outcome{key: k.ID}
	case *KeyRevokeBulk:
		for _, id := range m.order {
			if k := m.keys[id]; k.Account == c.Account && k.Environment == *in.Environment {
				m.revoke(k, "", c, index)
			}
		}
		return outcome{}
	case *Grant:
		for _, a := range in.Asks {
			bucket := fmt.Sprint(a.Account, a.Type, a.Month)
			m.granted[bucket] = min(1000, m.granted[bucket]-min(a.Give, m.granted[bucket])+a.Want) // tier free
		}
		return outcome{}
	}
	panic("the model does not know this command")
}

// turn is a step of a rotation of the pepper.
func (m *model) turn(c *Command) outcome {
	switch in := c.Change.(type) {
	case *PepperRotate:
		if m.rotating {
			return outcome{no: Conflict}
		}
		m.generation, m.rotating, m.revived = m.generation+1, true, 0
		m.note("pepper.rotate", "")
	case *PepperFinish:
		if !m.rotating || in.Generation != m.generation || m.revived > in.Counted {
			return outcome{no: Conflict}
		}
		m.rotating = false
		m.note("pepper.finish", "")
	case *KeysRehash:
		if !m.rotating || in.Generation != m.generation {
			return outcome{no: Conflict}
		}
		for _, r := range in.Keys {
			if k := m.keys[r.ID]; k != nil && k.Generation == m.generation-1 {
				k.Hash, k.Generation = r.Hash, m.generation
			}
		}
	}
	return outcome{}
}

func (m *model) update(u *KeyUpdate, c *Command, index uint64) outcome {
	k := m.keys[u.ID]
	switch {
	case k == nil || k.Account != c.Account:
		return outcome{no: NotFound}
	case c.Match != 0 && c.Match != k.Modified:
		return outcome{no: PreconditionFailed}
	case k.State(c.At) == Revoked:
		return outcome{no: Conflict}
	}
	changed := *k
	if u.Disabled != nil {
		changed.Disabled = *u.Disabled
	}
	if u.ExpiresAt != nil {
		changed.ExpiresAt = *u.ExpiresAt
	}
	if k.State(c.At) == Expired && changed.State(c.At) != Expired && k.Generation != m.generation {
		if !m.rotating || k.Generation+1 != m.generation {
			return outcome{no: Conflict}
		}
		m.revived = index
	}
	*k = changed
	k.Modified = index
	m.note("key.update", k.ID)
	return outcome{key: k.ID}
}

func (m *model) rotate(r *KeyRotate, c *Command, index uint64) outcome {
	old := m.keys[r.ID]
	if old == nil || old.Account != c.Account {
		return outcome{no: NotFound}
	}
	if state := old.State(c.At); r.Generation != m.generation || !old.OverlapEndsAt.IsZero() || state == Revoked || state == Expired || m.taken(r.New, r.Hash) {
		return outcome{no: Conflict}
	}
	k := *old
	k.ID, k.Hash, k.Generation, k.Hint, k.Replaces, k.ReplacedBy = r.New, r.Hash, r.Generation, r.Hint, old.ID, ""
	old.ReplacedBy, old.Modified = k.ID, index
	if r.OverlapEndsAt.After(c.At) {
		old.OverlapEndsAt, old.UntilUnused = r.OverlapEndsAt, r.UntilUnused
	} else {
		old.RevokedAt, old.RevokedBy, old.RevokeReason = c.At, c.Actor.ID, "rotated"
	}
	m.add(k, c, index)
	m.note("key.rotate", old.ID)
	m.note("key.create", k.ID)
	return outcome{key: k.ID}
}

// revoke ends k, unless it was revoked before.
func (m *model) revoke(k *Key, reason string, c *Command, index uint64) {
	if k.RevokedAt.IsZero() {
		k.RevokedAt, k.RevokedBy, k.RevokeReason, k.Modified = c.At, c.Actor.ID, reason, index
		m.note("key.revoke", k.ID)
	}
}

// A modelRun gives the same random commands to a store and to the model.
type modelRun struct {
	*harness
	m       *model
	name    *rapid.Generator[string]
	id      *rapid.Generator[KeyID]
	account *rapid.Generator[AccountID]
}

func newModelRun(t *testing.T) *modelRun {
	h := empty(t)
	h.must(&Command{Change: &Init{ClusterID: "c", DefaultTier: "free"}})
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	name := rapid.StringMatching("[a-h]")
	return &modelRun{
		harness: h,
		m:       &model{keys: map[KeyID]*Key{}, once: map[Hash]outcome{}, granted: map[string]int64{}},
		name:    name,
		id:      rapid.Custom(func(t *rapid.T) KeyID { return "key_" + KeyID(name.Draw(t, "id")) }),
		account: rapid.SampledFrom([]AccountID{DefaultAccount, "acct_a"}),
	}
}

// command draws the next command, some seconds or hours after the last one.
func (r *modelRun) command(t *rapid.T) *Command {
	r.at = r.at.Add(time.Duration(rapid.IntRange(1, 5*3600).Draw(t, "seconds")) * time.Second)
	c := &Command{At: r.at, Actor: Actor{Type: ActorOperator, ID: "op"}, Account: r.account.Draw(t, "account")}
	if rapid.IntRange(0, 3).Draw(t, "once") == 0 {
		c.Once = &Once{Scope: hashOf(r.name.Draw(t, "scope")), Body: hashOf(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "body"))}
	}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1:
		k := newKey(r.name.Draw(t, "name"))
		k.Generation = r.stale(t)
		k.Hash = hashUnder(k.Name, k.Generation)
		k.Environment = rapid.SampledFrom([]string{"dev", "prod"}).Draw(t, "environment")
		c.Change = &KeyCreate{Key: k}
	case 2, 3:
		u := &KeyUpdate{ID: r.id.Draw(t, "id"), Disabled: rapid.Ptr(rapid.Bool(), true).Draw(t, "disabled")}
		if rapid.Bool().Draw(t, "expire") {
			u.ExpiresAt = ptr(r.at.Add(24 * time.Hour))
		}
		c.Change = u
		c.Match = rapid.SampledFrom([]uint64{0, 0, r.index}).Draw(t, "match")
	case 4:
		to := r.name.Draw(t, "to")
		c.Change = &KeyRotate{ID: r.id.Draw(t, "id"), New: KeyID("key_" + to), Hash: hashUnder(to, r.m.generation), Generation: r.m.generation, Hint: to,
			OverlapEndsAt: r.at.Add(time.Duration(rapid.IntRange(-1, 30).Draw(t, "overlap")) * time.Hour), UntilUnused: rapid.Bool().Draw(t, "until unused")}
	case 5:
		c.Change = &KeyRevoke{ID: r.id.Draw(t, "id"), Reason: r.name.Draw(t, "reason")}
	case 6:
		c.Change = &KeyRevokeBulk{Environment: ptr(rapid.SampledFrom([]string{"dev", "prod"}).Draw(t, "environment"))}
	case 8:
		c.Change = r.turn(t)
	case 9:
		in := &KeysRehash{Generation: r.stale(t)}
		for range rapid.IntRange(1, 3).Draw(t, "moved") {
			name := r.name.Draw(t, "of")
			in.Keys = append(in.Keys, Rehash{KeyID("key_" + name), hashUnder(name, in.Generation)})
		}
		c.Change = in
	case 7:
		c.Change = &Grant{Asks: []GrantAsk{{Account: r.account.Draw(t, "of"), Type: Live, Month: Month(r.at), Want: rapid.Int64Range(0, 400).Draw(t, "want"), Give: rapid.Int64Range(0, 50).Draw(t, "give")}}}
	}
	return c
}

// stale draws the generation of the pepper, or one that is over.
func (r *modelRun) stale(t *rapid.T) uint64 {
	if r.m.generation > 0 && rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		return r.m.generation - 1
	}
	return r.m.generation
}

// turn draws the begin or the end of a rotation of the pepper.
func (r *modelRun) turn(t *rapid.T) Change {
	if rapid.Bool().Draw(t, "begin") {
		return &PepperRotate{Pepper: hashOf(fmt.Sprint("pepper", r.index))}
	}
	return &PepperFinish{Generation: r.m.generation, Counted: rapid.SampledFrom([]uint64{0, r.index}).Draw(t, "counted")}
}

// batch applies some commands in one batch and compares their answers.
func (r *modelRun) batch(t *rapid.T) {
	from := len(r.log)
	var wants []outcome
	var repeats []bool
	for range rapid.IntRange(1, 10).Draw(t, "commands") {
		c := r.command(t)
		r.entry(c)
		want, repeat := r.m.apply(c, r.index)
		wants, repeats = append(wants, want), append(repeats, repeat)
	}
	for i, answer := range r.ApplyBatch(r.log[from:]) {
		got := answer.(Result)
		var no Reason
		if got.Refusal != nil {
			no = got.Refusal.Reason
		}
		if no != wants[i].no || got.Repeat != repeats[i] || no == "" && wants[i].key != "" && got.Key.ID != wants[i].key {
			t.Fatalf("entry %d: got %+v (%+v), want %+v", from+i+1, got, got.Refusal, wants[i])
		}
	}
}

// The store and the model are given the same random commands, in batches, with
// restarts in between, and must agree on every answer and on all that can be read.
func TestStoreAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newModelRun(t)
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			r.batch(rt)
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				r.reopen()
			}
			r.m.check(rt, r.harness)
		}
	})
}

func (m *model) check(t *rapid.T, h *harness) {
	for id, want := range m.keys {
		got, err := h.Key(id)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("key %s: %v\ngot  %+v\nwant %+v", id, err, got, want)
		}
		r, err := h.Lookup(want.Hash)
		if err != nil || r == nil || r.ID != id || r.State(h.at) != want.State(h.at) || r.Account != h.Cell(want.Account) {
			t.Fatalf("record of %s: %+v %v", id, r, err)
		}
		for g := range want.Generation {
			if r, err := h.Lookup(hashUnder(string(id[len("key_"):]), g)); r != nil || err != nil {
				t.Fatalf("%s is found under a former hash, too: %+v %v", id, r, err)
			}
		}
	}
	if p := h.Peppers(); p.Generation != m.generation || p.Rotating != m.rotating {
		t.Fatalf("peppers %+v, want generation %d, rotating %v", p, m.generation, m.rotating)
	}
	for _, account := range []AccountID{DefaultAccount, "acct_a"} {
		var want []KeyID
		for _, id := range m.order {
			if m.keys[id].Account == account {
				want = append(want, id)
			}
		}
		var got []KeyID
		q := KeyQuery{Account: account, Limit: 3}
		for more := true; more; more = q.After != "" {
			page, next, err := h.Keys(q)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range page {
				got = append(got, k.ID)
			}
			q.After = next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("keys of %s: %v, want %v", account, got, want)
		}
		if n, err := h.Granted(account, Live, "", false, Month(h.at)); err != nil || n != m.granted[fmt.Sprint(account, Live, Month(h.at))] {
			t.Fatalf("granted to %s: %d %v, want %v", account, n, err, m.granted)
		}
	}
	seen := map[string]int{}
	for _, account := range []AccountID{DefaultAccount, "acct_a"} {
		for _, a := range actions(h, EventQuery{Account: account}) {
			seen[a]++
		}
	}
	delete(seen, "cluster.init ")
	delete(seen, "account.create ")
	for _, a := range m.events {
		seen[a]--
	}
	maps.DeleteFunc(seen, func(_ string, n int) bool { return n == 0 })
	if len(seen) > 0 {
		t.Fatalf("events that one side does not have: %v", seen)
	}
}
