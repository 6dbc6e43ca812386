package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// Unseen bounds the usage of a backup's months between its time and that of its
// restore, which the backup does not show: the units that the minute's limits let
// through in that time on all nodes, each of which has buckets of its own, and never
// more than the month's own limit. Budgets have no limit by the minute and count as
// used up.
//
// It is right as long as the limits and the nodes were those that the backup holds.
type Unseen struct {
	From, To time.Time // the backup's time and the restore's
	Raised   int       // months, once all rows went through Merge

	nodes    int64 // members; 0 of a lone node
	accounts map[AccountID]*Account
	tiers    map[string]*Tier
	keys     []*Key // with months of their own that may have been used since
	rows     []unseenRow
}

type unseenRow struct {
	row          []byte
	limit, extra int64
}

// unseenMax bounds the memory that an Unseen takes, by months.
const unseenMax = 1_000_000

// Add learns from a row of the backup; k is the key that it holds, if any.
func (u *Unseen) Add(row, v []byte, k *Key) error {
	switch {
	case k != nil:
		if k.State(u.since()) != Revoked && (monthOf(k) > 0 || k.MonthlyBudget != nil) {
			if len(u.keys) >= unseenMax {
				return fmt.Errorf("more than %d keys have months of their own, which is more than can be counted; restore with the counts of the backup", unseenMax)
			}
			u.keys = append(u.keys, &Key{
				ID: k.ID, Account: k.Account, Type: k.Type, Limits: k.Limits, MonthlyBudget: k.MonthlyBudget,
				Life: Life{OverlapEndsAt: k.OverlapEndsAt, Lineage: k.Lineage},
			})
		}
	case bytes.Equal(row, settingsRow):
		var r Roster
		if err := r.Add(row, v); err != nil {
			return err
		}
		u.nodes = int64(len(r.Members))
	case row[0] == rowAccount:
		a := new(Account)
		if err := json.Unmarshal(v, a); err != nil {
			return err
		}
		if u.accounts == nil {
			u.accounts = make(map[AccountID]*Account)
		}
		u.accounts[a.ID] = a
	case row[0] == rowTier:
		t := new(Tier)
		if err := json.Unmarshal(v, t); err != nil {
			return err
		}
		if u.tiers == nil {
			u.tiers = make(map[string]*Tier)
		}
		u.tiers[t.Name] = t
	}
	return nil
}

// since is the backup's time, or the restore's if a clock went back in between.
func (u *Unseen) since() time.Time {
	if u.To.Before(u.From) {
		return u.To
	}
	return u.From
}

// Settle works the bounds out when all rows were added.
func (u *Unseen) Settle() {
	to := u.To.UTC()
	month := Month(to)
	begin := time.Date(to.Year(), to.Month(), 1, 0, 0, 0, 0, time.UTC)
	if from := u.From.UTC(); from.After(begin) {
		begin = from
	}
	span := max(0, to.Sub(begin))
	for id, a := range u.accounts {
		tier := u.tiers[a.Tier]
		if tier == nil {
			continue // the restore will say so
		}
		for t, l := range resolve(a, tier) {
			if l.PerMonth > 0 {
				u.rows = append(u.rows, unseenRow{monthRow(month, id, KeyType(t), false, ""), l.PerMonth, u.through(l.PerMinute, l.Burst, span)})
			}
		}
	}
	slices.SortFunc(u.keys, compareCounted)
	for len(u.keys) > 0 {
		n := 1
		for n < len(u.keys) && compareCounted(u.keys[0], u.keys[n]) == 0 {
			n++
		}
		u.settleLineage(u.keys[:n], month, span)
		u.keys = u.keys[n:]
	}
	u.accounts, u.tiers, u.keys = nil, nil, nil
	slices.SortFunc(u.rows, func(a, b unseenRow) int { return bytes.Compare(a.row, b.row) })
}

// compareCounted brings the keys of one lineage together: they are counted as one.
func compareCounted(a, b *Key) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Type, b.Type), cmp.Compare(a.lineage().ID, b.lineage().ID))
}

// settleLineage works out the bounds of keys of one lineage. They share their buckets,
// each with the limits of its own, so that the largest bound what went through. If none
// of them works any more, nothing is counted.
func (u *Unseen) settleLineage(keys []*Key, month int, span time.Duration) {
	if !slices.ContainsFunc(keys, func(k *Key) bool { return k.State(u.To) != Revoked }) {
		return
	}
	var limit, minute, burst int64
	var budget *Money
	bounded := true // by a minute of their own
	for _, k := range keys {
		limit = max(limit, monthOf(k))
		if b := k.MonthlyBudget; b != nil && (budget == nil || *b > *budget) {
			budget = b
		}
		if k.Limits == nil || value(k.Limits.PerMinute) == 0 {
			bounded = bounded && monthOf(k) == 0
			continue
		}
		own := ownLimit(k.Limits)
		minute, burst = max(minute, own.PerMinute), max(burst, own.Burst)
	}
	k := keys[0]
	counted := k.lineage().ID
	if limit > 0 {
		extra := u.throughAccount(k, span)
		if bounded {
			extra = min(extra, u.through(minute, burst, span))
		}
		u.rows = append(u.rows, unseenRow{monthRow(month, k.Account, k.Type, false, counted), limit, extra})
	}
	if budget != nil {
		u.rows = append(u.rows, unseenRow{monthRow(month, k.Account, k.Type, true, counted), int64(*budget), math.MaxInt64})
	}
}

func monthOf(k *Key) int64 {
	if k.Limits == nil {
		return 0
	}
	return value(k.Limits.PerMonth)
}

// throughAccount is the bound of the minute of k's account.
func (u *Unseen) throughAccount(k *Key, span time.Duration) int64 {
	a := u.accounts[k.Account]
	if a == nil || u.tiers[a.Tier] == nil {
		return math.MaxInt64
	}
	l := resolve(a, u.tiers[a.Tier])[k.Type]
	return u.through(l.PerMinute, l.Burst, span)
}

// through is the most that the buckets of all nodes admit in span.
func (u *Unseen) through(perMinute, burst int64, span time.Duration) int64 {
	nodes, one := max(1, u.nodes), through(perMinute, burst, span)
	if one > math.MaxInt64/nodes {
		return math.MaxInt64
	}
	return nodes * one
}

// through is the most that a bucket admits in span; without a rate there is no bound.
func through(perMinute, burst int64, span time.Duration) int64 {
	if perMinute <= 0 {
		return math.MaxInt64
	}
	n := float64(perMinute)*span.Minutes() + 1 + float64(burst)
	if n >= 1<<62 {
		return math.MaxInt64
	}
	return int64(n)
}

// Merge hands the rows of the backup on to add, in order, with the months raised:
// call it with each, and at the end with a nil row.
func (u *Unseen) Merge(row, v []byte, add func(row, v []byte) error) error {
	for len(u.rows) > 0 && (row == nil || bytes.Compare(u.rows[0].row, row) <= 0) {
		next := u.rows[0]
		u.rows = u.rows[1:]
		granted := int64(0)
		same := row != nil && bytes.Equal(next.row, row)
		if same {
			granted = unpackGranted(v)
		}
		total := granted
		if next.limit > granted {
			total += min(next.extra, next.limit-granted)
		}
		if total == granted {
			continue
		}
		u.Raised++
		if err := add(next.row, binary.BigEndian.AppendUint64(nil, uint64(total))); err != nil || same {
			return err
		}
	}
	if row == nil {
		return nil
	}
	return add(row, v)
}
