package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gaissmai/bart"
	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/pack"
)

// ErrCursor is the answer to a query that is to resume after a key which
// the account does not have.
var ErrCursor = errors.New("the list cannot be resumed: the account has no such key")

// listRows is how many keys one call of Keys looks at. A page may therefore be
// shorter than its limit and still have a next one.
const listRows = 100_000

// Imported reports whether a key with this prefix, or [AnyPrefix], was imported into an
// account that exists: until then a credential that begins with it and has no right
// checksum needs no look-up.
func (s *Store) Imported(prefix string) bool {
	return s.settled.Load().Imported || (*s.view.imports.Load())[prefix] > 0
}

// Key returns a key by its id; nil if there is none.
func (s *Store) Key(id KeyID) (k *Key, err error) {
	err = s.find(named(rowKeyID, id), func(row []byte) error {
		k, err = s.keyAt(row)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", id, err)
	}
	return k, nil
}

// keyAt reads the key that a row of table k points to. A deleted account's keys
// are gone for every reader, whether or not their rows are.
func (s *Store) keyAt(row []byte) (*Key, error) {
	value, err := s.get(row)
	if value == nil || err != nil {
		return nil, err
	}
	k, err := unpackKey(value)
	if err != nil || s.view.cell(k.Account) == nil {
		return nil, err
	}
	return k, nil
}

// UntilUnused lists the keys that rotate at now and whose overlap ends when they are no longer
// used; most of them at most, after a place that it returns: "" is the beginning and the end.
// It looks at the first byte of each key's row: 100,000 keys take some 10 ms.
func (s *Store) UntilUnused(now time.Time, after string, most int) (out []*Key, next string, err error) {
	from := []byte{rowKey}
	if after != "" {
		from = append([]byte(after), 0)
	}
	err = s.scanRange(from, []byte{rowKey + 1}, func(row, value []byte) error {
		if !rowRotates(value) {
			return nil
		}
		k, err := unpackKey(value)
		if err != nil {
			return err
		}
		if k.RevokedAt.IsZero() && now.Before(k.OverlapEndsAt) && s.view.cell(k.Account) != nil {
			out = append(out, k)
		}
		if len(out) == most {
			next = string(row)
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("read keys that rotate: %w", err)
	}
	return out, next, nil
}

// Keys lists an account's keys that pass q, in order of creation, and the key
// after which to go on: "" at the end. A page may be short, even empty, and
// yet not the last one: a call looks at no more than 100,000 keys.
func (s *Store) Keys(q KeyQuery) ([]*Key, KeyID, error) {
	keys, next, err := s.listKeys(&q)
	if err != nil && !errors.Is(err, ErrCursor) {
		return nil, "", fmt.Errorf("list keys of %s: %w", q.Account, err)
	}
	return keys, next, err
}

func (s *Store) listKeys(q *KeyQuery) (keys []*Key, next KeyID, err error) {
	if s.view.cell(q.Account) == nil {
		return nil, "", nil
	}
	lower := accountRows(rowKey, q.Account)
	upper := prefixEnd(lower)
	if q.After != "" {
		row, err := s.get(named(rowKeyID, q.After))
		if err != nil {
			return nil, "", err
		}
		if !bytes.HasPrefix(row, lower) {
			return nil, "", ErrCursor
		}
		lower = append(row, 0)
	}
	it, err := s.iterate(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var last KeyID
	seen := 0
	for ok := it.First(); ok; ok = it.Next() {
		k, err := unpackKey(it.Value())
		if err != nil {
			return nil, "", err
		}
		if seen == listRows {
			return keys, last, nil
		}
		if q.Matches(k) {
			if len(keys) >= q.Limit {
				return keys, keys[len(keys)-1].ID, nil
			}
			keys = append(keys, k)
		}
		seen++
		last = k.ID
	}
	return keys, "", it.Error()
}

// Matches reports whether k belongs to q's answer, position aside.
func (q *KeyQuery) Matches(k *Key) bool {
	return (q.Account == "" || k.Account == q.Account) &&
		(q.Type == nil || k.Type == *q.Type) &&
		(q.State == "" || k.State(q.Now) == q.State) &&
		(q.Environment == nil || k.Environment == *q.Environment) &&
		(q.Name == "" || k.Name == q.Name) &&
		(q.CreatedBy == "" || k.CreatedBy == q.CreatedBy)
}

// Allowlist returns an account's allowlist as it was given, and its ETag.
func (s *Store) Allowlist(account AccountID) ([]AllowEntry, uint64, error) {
	cell := s.view.cell(account)
	if cell == nil {
		return nil, 0, nil
	}
	row, err := s.get(named(rowAllow, account))
	if err != nil {
		return nil, 0, fmt.Errorf("read the allowlist of %s: %w", account, err)
	}
	list, modified, err := unpackAllowlist(row)
	if err != nil {
		return nil, 0, fmt.Errorf("read the allowlist of %s: %w", account, err)
	}
	if modified == 0 { // never set
		if state := cell.Load(); state != nil {
			modified = state.AllowModified
		}
	}
	return list, modified, nil
}

// Granted is how much of a month's quota or budget all nodes together were
// granted so far. An empty key means the account's bucket.
func (s *Store) Granted(account AccountID, t KeyType, key KeyID, budget bool, month int) (int64, error) {
	row, err := s.get(monthRow(month, account, t, budget, key))
	if err != nil {
		return 0, fmt.Errorf("read the grants to %s: %w", account, err)
	}
	return unpackGranted(row), nil
}

// GrantedOf is how much of the bucket that ask names all nodes together were granted so
// far. Its Key is the key that the bucket is counted as.
func (s *Store) GrantedOf(ask GrantAsk) (int64, error) {
	row, err := s.get(ask.row(ask.Key))
	if err != nil {
		return 0, fmt.Errorf("read the grants to %s: %w", ask.Account, err)
	}
	return unpackGranted(row), nil
}

func unpackGranted(row []byte) int64 {
	if len(row) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(row))
}

// readAccounts reads all accounts with their allowlists, and all tiers.
func (d database) readAccounts(rules *ruleCompiler) (map[AccountID]*AccountState, map[string]*Tier, error) {
	tiers := make(map[string]*Tier)
	err := d.scan([]byte{rowTier}, func(_, value []byte) error {
		t := new(Tier)
		if err := json.Unmarshal(value, t); err != nil {
			return err
		}
		tiers[t.Name] = t
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the tiers: %w", err)
	}
	allow := make(map[AccountID]*bart.Lite)
	err = d.scan([]byte{rowAllow}, func(row, value []byte) error {
		list, _, err := unpackAllowlist(value)
		allow[AccountID(row[1:])] = newAllowlist(list)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the allowlists: %w", err)
	}
	states := make(map[AccountID]*AccountState)
	err = d.scan([]byte{rowAccount}, func(_, value []byte) error {
		a := new(Account)
		if err := json.Unmarshal(value, a); err != nil {
			return err
		}
		tier := tiers[a.Tier]
		if tier == nil {
			return fmt.Errorf("account %s: there is no tier %q", a.ID, a.Tier)
		}
		states[a.ID] = rules.newState(a, tier, allow[a.ID])
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the accounts: %w", err)
	}
	return states, tiers, nil
}

const allowVersion = 1

// packAllowlist writes an account's row in table l.
func packAllowlist(list []AllowEntry, modified uint64) []byte {
	b := binary.AppendUvarint([]byte{allowVersion}, modified)
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, e := range list {
		b = packPrefix(b, e.CIDR)
		b = pack.Append(b, e.Note)
	}
	return b
}

// unpackAllowlist reads a row of packAllowlist; no row is an empty list.
func unpackAllowlist(row []byte) ([]AllowEntry, uint64, error) {
	if row == nil {
		return nil, 0, nil
	}
	u := unpack(string(row))
	u.Version(allowVersion)
	modified := u.Uvarint()
	list := make([]AllowEntry, u.Count())
	for i := range list {
		list[i] = AllowEntry{CIDR: u.prefix(), Note: u.Text()}
	}
	if u.err() != nil {
		return nil, 0, u.err()
	}
	return list, modified, nil
}

// newAllowlist builds the set that admission asks; nil allows every address.
func newAllowlist(list []AllowEntry) *bart.Lite {
	if len(list) == 0 {
		return nil
	}
	set := new(bart.Lite)
	for _, e := range list {
		set.Insert(e.CIDR)
	}
	return set
}

// sweep is the progress of the sweeper.
type sweep struct {
	At      time.Time // cluster time of the last round
	Index   uint64    // its Raft index
	Account AccountID // the last account examined for old events; "" starts again
	Gone    AccountID // the same for deleted accounts
}

func (d database) readSweep() (sweep, error) {
	row, err := d.get(sweepRow)
	if row == nil || err != nil {
		return sweep{}, err
	}
	u := unpack(string(row))
	w := sweep{At: u.Time(), Index: u.Uvarint(), Account: AccountID(u.Text()), Gone: AccountID(u.Text())}
	if u.err() != nil {
		return sweep{}, fmt.Errorf("read the sweeper's place: %w", u.err())
	}
	return w, nil
}

func packSweep(w *sweep) []byte {
	b := pack.AppendTime(nil, w.At)
	b = binary.AppendUvarint(b, w.Index)
	return pack.Append(pack.Append(b, w.Account), w.Gone)
}
