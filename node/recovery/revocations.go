package recovery

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
)

// lostTime are the changes between a backup and its restore, from audit exports:
// those that took rights away and would be undone silently.
type lostTime struct {
	revoked map[store.KeyID]bool // for good
	// others are changes that a restore undoes and cannot do again, as they were
	// made to a state that it does not have: at most maxChanges, of total.
	others []lostChange
	total  int
	erased ledger
}

// lostChange is one change that a restore undoes.
type lostChange struct {
	Time   time.Time `json:"time"`
	Action string    `json:"action"`
	Target string    `json:"target"`
}

// maxChanges and maxRevoked bound the memory of a lostTime.
const (
	maxChanges = 1000
	maxRevoked = 5_000_000
)

// exportForm is how the JSON form of an export begins; the other is an event a line.
var exportForm = regexp.MustCompile(`^\s*\{\s*"data"\s*:\s*\[`)

// read takes an audit export, JSON or NDJSON, into account. since is the backup's
// time, now the restore's.
func (l *lostTime) read(src io.Reader, since, now time.Time) error {
	in := bufio.NewReaderSize(src, 64<<10)
	head, err := in.Peek(64)
	if err != nil && err != io.EOF {
		return err
	}
	if text := strings.TrimSpace(string(head)); text != "" && text[0] != '{' {
		return errors.New("must be the JSON or NDJSON that perfgate audit export writes")
	}
	if l.revoked == nil {
		l.revoked = make(map[store.KeyID]bool)
	}
	document := exportForm.Match(head)
	d := json.NewDecoder(in)
	if document {
		for range 3 { // { "data" [
			if _, err := d.Token(); err != nil {
				return err
			}
		}
	}
	for n := 1; !document || d.More(); n++ {
		var e exported
		switch err := d.Decode(&e); {
		case err == io.EOF && !document:
			return nil
		case err != nil:
			return fmt.Errorf("event %d: %w", n, err)
		case e.Proof != nil:
			continue // the last line
		case e.Time.IsZero() || e.Action == "":
			return fmt.Errorf("event %d has no time or no action: must be the output of perfgate audit export", n)
		case e.Outcome != string(store.Success):
			continue
		}
		if err := l.add(&e, since, now); err != nil {
			return err
		}
	}
	return wholeList(d)
}

// exported is an audit event as far as a restore looks at it.
type exported struct {
	Time    time.Time
	Action  string
	Outcome string
	Account store.AccountID
	KeyID   store.KeyID `json:"key_id"`
	Target  string
	Reason  string
	Proof   json.RawMessage
	Changes struct {
		After struct {
			RevokedAt     *time.Time `json:"revoked_at"`
			Everything    bool
			OverlapEndsAt *time.Time `json:"overlap_ends_at"`
		}
	}
}

// add takes one successful change into account.
func (l *lostTime) add(e *exported, since, now time.Time) error {
	after := &e.Changes.After
	ended := after.RevokedAt != nil || after.OverlapEndsAt != nil && !after.OverlapEndsAt.After(now)
	switch {
	case e.Action == "key.revoke" && e.KeyID != "", e.Action == "key.rotate" && e.KeyID != "" && ended:
		if l.revoked[e.KeyID] = true; len(l.revoked) > maxRevoked {
			return fmt.Errorf("it revokes more than %d keys", maxRevoked)
		}
	case e.Time.After(since) && e.Action == "erasure.apply":
		account := e.Account
		if (account == "" || account == store.DefaultAccount) && e.Reason != "" {
			account = store.AccountID(e.Reason) // one that ended with the erasure
		}
		l.erased.add(&store.Erasure{ID: store.ErasureID(e.Target), Account: account, Everything: after.Everything, RequestedAt: e.Time, RequestedBy: restoreActor, EffectiveAt: e.Time, ErasedAt: e.Time})
	case e.Time.After(since) && takesAway(e.Action):
		if l.total++; len(l.others) < maxChanges {
			target := e.Target
			if target == "" {
				target = string(e.KeyID)
			}
			l.others = append(l.others, lostChange{e.Time, e.Action, target})
		}
	}
	return nil
}

// wholeList reads the end of the JSON form: a list without a next page.
func wholeList(d *json.Decoder) (err error) {
	var rest [3]json.Token // ] "next_cursor" null
	for i := range rest {
		if rest[i], err = d.Token(); err != nil {
			return fmt.Errorf("it is cut short: %w", err)
		}
	}
	if rest[2] != nil {
		return errors.New("it is one page of a list; must be the whole list, as perfgate audit export writes it")
	}
	return nil
}

// thatTake are the actions of all changes that may take a right away, sorted.
var thatTake = store.ActionsThatTake()

// takesAway reports whether an action may have taken a right away that a restore
// gives back: not a key's revocation, which it does again, and no change of the
// cluster, since a restored one has other members.
func takesAway(action string) bool {
	_, found := slices.BinarySearch(thatTake, action)
	return found && action != "key.revoke" && !strings.HasPrefix(action, "cluster.")
}
