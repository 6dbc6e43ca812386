package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/node/custody"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// eraseEvery is the time between two looks at the erasures.
const eraseEvery = 5 * time.Second

// eraser carries out erasures. The leader begins those that are due; each node removes what
// its own files hold, and reports. Every step may be repeated, so a crash needs no memory.
type eraser struct {
	n *Node
	// clean is what the node has done and not reported yet, by erasure. It belongs to run.
	clean map[store.ErasureID]store.ErasureNode
}

// run carries out erasures until ctx ends.
func (x *eraser) run(ctx context.Context) {
	tick := time.NewTicker(eraseEvery)
	defer tick.Stop()
	for {
		if err := x.look(ctx); errors.Is(err, local.ErrHeld) { // at most once a minute
			x.n.log.Info("an erasure is reported later", "reason", err)
		} else if waits(err) {
			x.n.log.Debug("an erasure waits", "reason", err)
		} else if err != nil && ctx.Err() == nil {
			x.n.log.Warn("an erasure is not carried out yet; tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look does what is to be done now.
func (x *eraser) look(ctx context.Context) error {
	if !x.n.store.Initialized() {
		return nil
	}
	open, err := x.n.store.Erasures().Open()
	if err != nil || len(open) == 0 {
		return err
	}
	var running []*store.Erasure
	for _, e := range open {
		if e.State == store.ErasureScheduled {
			if x.n.replica.Leads() && !x.n.clock.Wall().Before(e.EffectiveAt) {
				err = errors.Join(err, x.propose(ctx, e, &store.ErasureRun{ID: e.ID}))
			}
			continue
		}
		removed, no := x.n.store.Erasures().Removed(e)
		err = errors.Join(err, no)
		if removed && x.owed(e) {
			running = append(running, e)
		}
	}
	if len(running) == 0 {
		return err
	}
	return errors.Join(err, x.erase(ctx, running))
}

// owed reports whether this node has to report on e: also again, as the leader, where the
// members that have not reported were removed since.
func (x *eraser) owed(e *store.Erasure) bool {
	if !e.Reported(x.n.replica.Identity().ID) {
		return true
	}
	if !x.n.replica.Leads() {
		return false
	}
	for _, m := range x.n.store.Members() {
		if !e.Reported(m.ID) {
			return false
		}
	}
	return true
}

// erase removes what this node's files hold of accounts that the state has erased.
func (x *eraser) erase(ctx context.Context, list []*store.Erasure) error {
	var left []*store.Erasure
	index := uint64(0)
	for _, e := range list {
		if _, done := x.clean[e.ID]; !done && !e.Reported(x.n.replica.Identity().ID) {
			left = append(left, e)
			index = max(index, e.Index)
		}
	}
	if len(left) > 0 {
		if err := x.remove(ctx, left, index); err != nil {
			return err
		}
	}
	var err error
	for _, e := range list {
		report, ok := x.clean[e.ID]
		for _, n := range e.Nodes {
			if !ok && n.ID == x.n.replica.Identity().ID {
				report = n
			}
		}
		no := x.propose(ctx, e, &store.ErasureReport{ID: e.ID, Node: report})
		if no == nil {
			delete(x.clean, e.ID)
		}
		err = errors.Join(err, no)
	}
	return err
}

// remove empties the node's files of left, then destroys the key of what was there.
func (x *eraser) remove(ctx context.Context, left []*store.Erasure, index uint64) error {
	n := x.n
	sent, err := x.sentBackups()
	if err != nil {
		return err
	}
	for _, e := range left {
		goes := x.keys(e.Account)
		if err := n.local.Flush(); err != nil { // else the watcher would learn again from requests that wait
			return err
		}
		n.startup.watcher.Forget(goes)
		err := local.Erase(n.local, local.Erasure{Account: e.Account, Key: goes, Note: func(note []byte) bool {
			var f insight.Finding
			return json.Unmarshal(note, &f) == nil && f.Account == string(e.Account)
		}})
		if err != nil {
			return err
		}
	}
	if err := local.Compact(ctx, n.local); err != nil {
		return err
	}
	first, err := n.replica.Forget(ctx, index)
	if err != nil {
		return err
	}
	if err := n.vault.RotateData(); err != nil {
		return err
	}
	if err := n.vault.Run(ctx); err != nil {
		return err
	}
	for _, e := range left {
		report := store.ErasureNode{
			ID: n.replica.Identity().ID, Name: n.config.Node.Name, At: n.clock.Wall().UTC().Truncate(time.Second),
			Log: first, OldKeys: n.vault.Rotating(),
		}
		if b := n.background.backups; b != nil {
			names, err := b.Before(e.ErasedAt)
			if err != nil { // the disk of the backups holds up no erasure
				n.log.Error("the folder of the backups cannot be read, so the receipt of an erasure does not name those with the data", "dir", b.Dir, "erasure", e.ID, "error", err)
				names = []string{"scheduled backups of " + n.config.Node.Name + ", whose folder could not be read"}
			}
			b.KeepLedger()
			report.Backups = names
		}
		for _, s := range sent {
			if s.at.Before(e.ErasedAt) {
				report.Backups = append(report.Backups, s.text)
			}
		}
		report.Count = len(report.Backups)
		report.Backups = report.Backups[max(0, report.Count-store.MaxErasureBackups):]
		x.clean[e.ID] = report
	}
	n.log.Info("this node's files hold nothing of erased accounts any more", "erasures", len(left), "log_from", first)
	return nil
}

// sentBackup is a backup that the node sent to an operator.
type sentBackup struct {
	at   time.Time
	text string
}

// sentBackups lists the newest backups that this node sent, as far as its log of requests
// goes back, at most [store.MaxErasureBackups]. Nobody but their readers knows where they are.
func (x *eraser) sentBackups() (list []sentBackup, err error) {
	q := store.EventQuery{Account: store.DefaultAccount, WithOperators: true, Action: "backup.read", Outcome: store.Success, Newest: true}
	for e, err := range x.n.local.Events(q) {
		if err != nil {
			return nil, err
		}
		if e.Request == nil || e.Request.Method == http.MethodHead {
			continue
		}
		at := e.Request.StartedAt
		list = append(list, sentBackup{at, fmt.Sprintf("%s, sent to %s", backup.Name(x.n.store.ClusterID(), at), e.Actor.ID)})
		if len(list) == store.MaxErasureBackups {
			break
		}
	}
	slices.Reverse(list)
	return list, nil
}

// keys tells the keys whose traces go: those of the account, and those of no account.
// Operator tokens have traces of the same form.
func (x *eraser) keys(account store.AccountID) func(store.KeyID) bool {
	return func(id store.KeyID) bool {
		if strings.HasPrefix(string(id), "op_") {
			return false
		}
		k, err := x.n.store.Key(id)
		return err == nil && (k == nil || k.Account == account)
	}
}

func (x *eraser) propose(ctx context.Context, e *store.Erasure, change store.Change) error {
	r, err := x.n.proposeGrant(ctx, &store.Command{At: x.n.clock.Wall(), Account: e.Account, Actor: x.n.startup.system(), Change: change})
	if err == nil && r.Refusal != nil {
		return r.Refusal
	}
	return err
}

// waits reports whether err says that an erasure goes on later by itself: the files are not
// ready for it or are being read, another node was first, or cluster time is behind the clock.
func waits(err error) bool {
	if no := (*store.Refusal)(nil); errors.As(err, &no) {
		return no.Reason == store.Conflict
	}
	return errors.Is(err, local.ErrHeld) || errors.Is(err, replica.ErrNotForgotten) || errors.Is(err, custody.ErrBusy)
}
