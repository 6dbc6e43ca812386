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
// through in that time, and never more than the month's own limit. Budgets
// have no limit by the minute and count as used up.
//
// It is right as long as the limits were those that the backup holds.
type Unseen struct {
	From, To time.Time // the backup's time and the restore's
	Raised   int       // months, once all rows went through Merge

	accounts map[AccountID]*Account
	tiers    map[string]*Tier
	keys     []*Key // with months of their own
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
		if k.State(u.To) != Revoked && (monthOf(k) > 0 || k.MonthlyBudget != nil) {
			if len(u.keys) >= unseenMax {
				return fmt.Errorf("more than %d keys have months of their own, which is more than can be counted; restore with the counts of the backup", unseenMax)
			}
			u.keys = append(u.keys, &Key{ID: k.ID, Account: k.Account, Type: k.Type, Limits: k.Limits, MonthlyBudget: k.MonthlyBudget})
		}
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
				u.rows = append(u.rows, unseenRow{monthRow(month, id, KeyType(t), false, ""), l.PerMonth, through(l.PerMinute, l.Burst, span)})
			}
		}
	}
	for _, k := range u.keys {
		if limit := monthOf(k); limit > 0 {
			u.rows = append(u.rows, unseenRow{monthRow(month, k.Account, k.Type, false, k.ID), limit, u.throughKey(k, span)})
		}
		if k.MonthlyBudget != nil {
			u.rows = append(u.rows, unseenRow{monthRow(month, k.Account, k.Type, true, k.ID), int64(*k.MonthlyBudget), math.MaxInt64})
		}
	}
	u.accounts, u.tiers, u.keys = nil, nil, nil
	slices.SortFunc(u.rows, func(a, b unseenRow) int { return bytes.Compare(a.row, b.row) })
}

func monthOf(k *Key) int64 {
	if k.Limits == nil {
		return 0
	}
	return value(k.Limits.PerMonth)
}

// throughKey is the smaller of the bounds of the key's own minute and its account's.
func (u *Unseen) throughKey(k *Key, span time.Duration) int64 {
	n := int64(math.MaxInt64)
	if a := u.accounts[k.Account]; a != nil && u.tiers[a.Tier] != nil {
		l := resolve(a, u.tiers[a.Tier])[k.Type]
		n = through(l.PerMinute, l.Burst, span)
	}
	if k.Limits != nil {
		minute := value(k.Limits.PerMinute)
		n = min(n, through(minute, cmp.Or(value(k.Limits.Burst), minute), span))
	}
	return n
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
