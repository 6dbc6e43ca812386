package replica_test

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// monthsAsked is a command that is vital and does not wait.
func monthsAsked() *store.Command {
	return &store.Command{At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n2"}, Change: &store.Grant{
		Node: "n2", Asks: []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: store.Month(time.Now()), Want: 1}},
	}}
}

// TestTraitsOfForwarded: the receiver reads them from the command.
func TestTraitsOfForwarded(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	for _, tc := range []struct {
		name                string
		cmd                 *store.Command
		takes, waits, vital bool
	}{
		{"create", replicatest.CreateKey(1), false, true, false},
		{"revoke", &store.Command{At: time.Now(), Change: &store.KeyRevoke{ID: "key_1"}}, true, true, false},
		{"grant", monthsAsked(), false, false, true},
	} {
		raw := tc.cmd.Encode()
		p, err := r.Judge(raw)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if p.Takes != tc.takes || p.Waits != tc.waits || p.Vital != tc.vital || !bytes.Equal(p.Raw, raw) {
			t.Errorf("%s: %+v", tc.name, p)
		}
	}
}

// TestForwardedSlots: a forwarded write takes the slot that its command is entitled
// to.
func TestForwardedSlots(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	for range replica.MaxOutstanding {
		r.Slots() <- struct{}{}
	}
	if _, err := r.CommitForwarded(t.Context(), replicatest.CreateKey(1).Encode()); !errors.Is(err, replica.ErrBusy) {
		t.Errorf("a caller's write: %v", err)
	}
	if out, err := r.CommitForwarded(t.Context(), monthsAsked().Encode()); err != nil || len(out.Granted) != 1 {
		t.Errorf("a grant: %+v, %v", out, err)
	}
}

// TestForwardedTime: a command of a node that has another time is not appended; that of
// one whose clock is off a little, or that was long under way, is.
func TestForwardedTime(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	for i, tc := range []struct {
		off  time.Duration
		good bool
	}{{0, true}, {-10 * time.Second, true}, {3 * time.Second, true}, {31 * 24 * time.Hour, false}, {-time.Minute, false}, {time.Minute, false}} {
		cmd := replicatest.CreateKey(i)
		cmd.At = time.Now().Add(tc.off)
		before := r.LastIndex()
		_, err := r.CommitForwarded(t.Context(), cmd.Encode())
		if good := err == nil; good != tc.good || !good && (!errors.Is(err, replica.ErrUnavailable) || r.LastIndex() != before) {
			t.Errorf("off by %v: %v", tc.off, err)
		}
	}
}

// TestStampedEntries: the leader stamps the entries of a complete cluster by its own
// clocks, whatever the time of the command is, and the state's time follows.
func TestStampedEntries(t *testing.T) {
	t.Parallel()
	c := replicatest.Config(t, vfs.Default, t.TempDir())
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var jump atomic.Int64
	c.Clock = func() (time.Time, int64) {
		if ahead := time.Duration(jump.Load()); ahead > 0 {
			return start.Add(ahead), int64(time.Minute)
		}
		return start, 0
	}
	r := replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	if got := r.Store().ClusterTime(); !got.Equal(start) {
		t.Errorf("it begins at %v", got)
	}
	const ahead = 31 * 24 * time.Hour
	jump.Store(int64(ahead))
	index := replicatest.Must(t, r, replicatest.CreateKey(1)).Index
	if got, want := stampAt(t, r, index), (store.Stamp{Wall: start.Add(ahead).UnixNano(), Mono: int64(time.Minute)}); got != want {
		t.Errorf("the stamp is %+v, want %+v", got, want)
	}
	if got := r.Store().ClusterTime(); !got.Equal(start.Add(time.Minute)) {
		t.Errorf("after a minute and a jump it is %v", got)
	}
}

// TestUnknownCommands: a command that some node could not apply is not appended, for it
// would stop that node; the answer says what to upgrade.
func TestUnknownCommands(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	replicatest.Must(t, r, &store.Command{At: time.Now(), Change: &store.MemberPut{Member: store.Member{ID: "old", Name: "n9", Address: "a:1", Level: store.LevelOfCounts - 1}}})
	rotate := &store.Command{At: time.Now(), Account: store.DefaultAccount, Change: &store.KeyRotate{ID: "key_1", New: "key_2", Counts: true}}
	propose := func(cmd *store.Command) error { _, err := r.Propose(t.Context(), cmd); return err }
	forward := func(raw []byte) error { _, err := r.CommitForwarded(t.Context(), raw); return err }
	last := r.LastIndex()
	for name, tc := range map[string]struct {
		err    error
		reason error
		says   string
	}{
		"too new for a member": {propose(rotate), replica.ErrUnavailable, "it needs level 3, the cluster is at 2); upgrade them first"},
		"the same, forwarded":  {forward(rotate.Encode()), replica.ErrUnavailable, "it needs level 3, the cluster is at 2); upgrade them first"},
		"too new for this one": {forward([]byte("\xffnew")), replica.ErrUnknownCommand, "upgrade all nodes of the cluster to the same version"},
		"nothing":              {forward(nil), replica.ErrUnknownCommand, "The leader does not know this change"},
	} {
		answered(t, tc.err, tc.reason)
		if !strings.Contains(tc.err.Error(), tc.says) {
			t.Errorf("%s: %v, must say %q", name, tc.err, tc.says)
		}
	}
	if r.LastIndex() != last {
		t.Errorf("the log went on from %d to %d", last, r.LastIndex())
	}
	rotate.Change.(*store.KeyRotate).Counts = false // every version knows this; apply finds no such key
	if out, err := r.Propose(t.Context(), rotate); err != nil || out.Refusal == nil {
		t.Errorf("an old command: %+v, %v", out, err)
	}
}

// The path of a request and its start are left out of a command while a node would not know
// them, and the command of the caller is not changed.
func TestPathsWaitForOldNodes(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	change := func(name string) *store.EventRequest {
		cmd := &store.Command{At: time.Now(), Account: store.DefaultAccount, Change: &store.AccountUpdate{Name: &name}}
		cmd.Request = store.CommandRequest{RequestInfo: store.RequestInfo{ID: name, Method: "PATCH", Route: "/v1/account"}, Path: "/v1/account", StartedAt: began}
		replicatest.Must(t, r, cmd)
		if cmd.Request.Path == "" || cmd.Request.StartedAt.IsZero() {
			t.Errorf("the command was changed: %+v", cmd.Request)
		}
		for e, err := range r.Store().Events(store.EventQuery{Account: store.DefaultAccount, Action: "account.update", Newest: true}) {
			if err != nil {
				t.Fatal(err)
			}
			return e.Request
		}
		t.Fatal("there is no event")
		return nil
	}
	if got := change("alone"); got.ID != "alone" || got.Path != "/v1/account" || !got.StartedAt.Equal(began) {
		t.Errorf("the event has %+v", got)
	}
	replicatest.Must(t, r, &store.Command{At: time.Now(), Change: &store.MemberPut{Member: store.Member{ID: "old", Name: "n9", Address: "a:1", Level: store.LevelOfPaths - 1}}})
	if got := change("with an old node"); got.ID != "with an old node" || got.Path != "" || !got.StartedAt.IsZero() {
		t.Errorf("the event has %+v", got)
	}
}

// stampAt is the stamp of the entry at index.
func stampAt(t *testing.T, r *replica.Replica, index uint64) store.Stamp {
	t.Helper()
	var entry raft.Log
	if err := r.Log().GetLog(index, &entry); err != nil {
		t.Fatal(err)
	}
	cmd, err := store.DecodeEntry(entry.Data)
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Stamp
}

// incomplete is a coordinator that waits for more nodes.
type incomplete struct{ replica.Coordinator }

func (incomplete) Complete() bool { return false }

// TestNoStampsBeforeTheClusterIsComplete: a node of an older version could not join any
// more. Once there was one, there are always stamps.
func TestNoStampsBeforeTheClusterIsComplete(t *testing.T) {
	t.Parallel()
	c := replicatest.Config(t, vfs.Default, t.TempDir())
	complete := c
	c.Coordinate = func(r *replica.Replica) replica.Coordinator { return incomplete{replica.Lone(r)} }
	r := replicatest.Start(t, c)
	replicatest.Begin(t, r)
	if got := r.Store().ClusterTime(); !got.IsZero() {
		t.Errorf("cluster time is %v", got)
	}
	replicatest.Shut(t, r)
	r = replicatest.Start(t, complete)
	first := replicatest.Must(t, r, replicatest.CreateKey(1))
	replicatest.Shut(t, r)
	r = replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	second := replicatest.Must(t, r, replicatest.CreateKey(2))
	for _, index := range []uint64{first.Index, second.Index} {
		if stampAt(t, r, index) == (store.Stamp{}) {
			t.Errorf("entry %d has no stamp", index)
		}
	}
}

// TestTakesAt: an entry is judged by the log; one that is not there, or is no
// command, counts as one that takes.
func TestTakesAt(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	created := replicatest.Must(t, r, replicatest.CreateKey(1))
	revoked := replicatest.Must(t, r, &store.Command{At: time.Now(), Account: store.DefaultAccount, Change: &store.KeyRevoke{ID: replicatest.KeyID(1)}})
	for _, tc := range []struct {
		name  string
		index uint64
		takes bool
	}{
		{"create", created.Index, false},
		{"revoke", revoked.Index, true},
		{"none", 0, true},
		{"beyond the log", r.LastIndex() + 1, true},
		{"a configuration of Raft", 1, true},
	} {
		if got := r.TakesAt(tc.index); got != tc.takes {
			t.Errorf("%s, index %d: takes %v", tc.name, tc.index, got)
		}
	}
	var first raft.Log
	if err := r.Log().GetLog(1, &first); err != nil || first.Type == raft.LogCommand {
		t.Errorf("the first entry is %v, %v", first.Type, err)
	}
}

// untimely is a coordinator of a node whose clock is wrong while wrong is set.
type untimely struct {
	replica.Coordinator
	wrong *atomic.Bool
}

func (u untimely) Fault() error {
	if u.wrong.Load() {
		return errors.New("its clock is wrong")
	}
	return nil
}

// A node with a wrong clock asks for no units of a month, and takes no ask of another
// node: nothing of either gets into the log.
func TestNoGrantsByAWrongClock(t *testing.T) {
	t.Parallel()
	c, wrong := replicatest.Config(t, vfs.Default, t.TempDir()), &atomic.Bool{}
	c.Coordinate = func(r *replica.Replica) replica.Coordinator { return untimely{replica.Lone(r), wrong} }
	r := replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	month := store.Month(time.Now())
	ask := monthsAsked()
	for _, tt := range []struct {
		wrong   bool
		granted int64 // in all
	}{{false, 1}, {true, 1}, {false, 2}} {
		wrong.Store(tt.wrong)
		last := r.LastIndex()
		_, err := r.Propose(t.Context(), ask)
		if e := (*replica.Error)(nil); tt.wrong != (errors.As(err, &e) && e.Reason == replica.ErrUnavailable && e.Message == "Nothing can be changed through this node: its clock is wrong.") {
			t.Errorf("clock wrong %v: %v", tt.wrong, err)
		}
		if tt.wrong {
			if _, err := r.CommitForwarded(t.Context(), ask.Encode()); !errors.Is(err, replica.ErrNotTaken) {
				t.Errorf("the ask of another node: %v", err)
			}
			if r.LastIndex() != last {
				t.Errorf("the log goes on from %d to %d", last, r.LastIndex())
			}
		}
		if total, err := r.Store().Granted(store.DefaultAccount, store.Live, "", false, month); err != nil || total != tt.granted {
			t.Errorf("clock wrong %v: %d units are granted, %v; want %d", tt.wrong, total, err, tt.granted)
		}
	}
}
