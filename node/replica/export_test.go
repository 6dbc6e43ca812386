package replica

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/raftlog"
	"github.com/perfgate/perfgate/store/snapshot"
)

// Internals that tests look at.

const (
	MaxOutstanding = maxOutstanding
	StoreLimit     = storeLimit
	TailBytes      = tailBytes
	TailAtStop     = tailAtStop
	LargeCommand   = largeCommand
	LargeBytes     = largeBytes
	ApplyBytes     = applyBytes
)

// SetLeads opens or shuts the latch that an election opens.
func (r *Replica) SetLeads(leads bool) { r.leadership.leads.set(leads) }

// Slots holds one for each write under way.
func (r *Replica) Slots() chan struct{} { return r.committer.slots }

// Snapshots are those on the disk.
func (r *Replica) Snapshots() *snapshot.Store { return r.engine.snaps }

// Log is the log on the disk.
func (r *Replica) Log() *raftlog.Log { return r.engine.log }

// Judge is the part of CommitForwarded before the log.
func (r *Replica) Judge(raw []byte) (*Proposal, error) { return r.committer.judgeForwarded(raw) }

// Lone is the coordinator of a lone node.
func Lone(r *Replica) Coordinator { return lone{r} }

// Room is the share of large writes.
type Room = room

// NewRoom is one of total bytes.
func NewRoom(total int) *Room { return &room{total: total} }

// Take is take, for the account that no command names.
func (r *room) Take(ctx context.Context, n int) (free func()) { return r.take(ctx, "", n) }

// TakeFor is take.
func (r *room) TakeFor(ctx context.Context, account store.AccountID, n int) (free func()) {
	return r.take(ctx, account, n)
}

// Total is the number of bytes that callers share now.
func (r *room) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// Shares is the number of accounts that hold or wait for some of the room.
func (r *room) Shares() int { return len(r.by) }

// Large is the room of r's large writes.
func (r *Replica) Large() *Room { return &r.committer.large }

// HoldApply keeps the state machine from reporting the entries that it has applied, and
// so from applying more, until release is called.
func (r *Replica) HoldApply() (release func()) {
	r.applied.mu.Lock()
	return r.applied.mu.Unlock
}

// ApplyBatch applies entries to the state machine, beside Raft.
func (r *Replica) ApplyBatch(logs []*raft.Log) []any {
	return machine{r.engine.state, r.applied, nil}.ApplyBatch(logs)
}
