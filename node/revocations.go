package node

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
)

// lostTime is what audit exports tell of the time between a backup and its
// restore: what took rights away, and would be undone silently.
type lostTime struct {
	revoked map[store.KeyID]bool // for good
	// others are changes that a restore undoes and cannot do again, as they were
	// made to a state that it does not have: at most maxChanges, of total.
	others []lostChange
	total  int
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
		return errors.New("want the JSON or NDJSON that perfgate audit export writes")
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
	n := 0
	for !document || d.More() {
		var e struct {
			Time    time.Time
			Action  string
			Outcome string
			KeyID   store.KeyID `json:"key_id"`
			Target  string
			Changes struct {
				After struct {
					RevokedAt     *time.Time `json:"revoked_at"`
					OverlapEndsAt *time.Time `json:"overlap_ends_at"`
				}
			}
		}
		n++
		switch err := d.Decode(&e); {
		case err == io.EOF && !document:
			return nil
		case err != nil:
			return fmt.Errorf("event %d: %w", n, err)
		case e.Time.IsZero() || e.Action == "":
			return fmt.Errorf("event %d has no time or no action: want what perfgate audit export writes", n)
		case e.Outcome != string(store.Success):
			continue
		}
		after := &e.Changes.After
		ended := after.RevokedAt != nil || after.OverlapEndsAt != nil && !after.OverlapEndsAt.After(now)
		switch {
		case e.Action == "key.revoke" && e.KeyID != "", e.Action == "key.rotate" && e.KeyID != "" && ended:
			if l.revoked[e.KeyID] = true; len(l.revoked) > maxRevoked {
				return fmt.Errorf("it revokes more than %d keys", maxRevoked)
			}
		case takesAway[e.Action] && e.Time.After(since):
			if l.total++; len(l.others) < maxChanges {
				target := e.Target
				if target == "" {
					target = string(e.KeyID)
				}
				l.others = append(l.others, lostChange{e.Time, e.Action, target})
			}
		}
	}
	var rest [3]json.Token // ] "next_cursor" null
	for i := range rest {
		if rest[i], err = d.Token(); err != nil {
			return fmt.Errorf("it is cut short: %w", err)
		}
	}
	if rest[2] != nil {
		return errors.New("it is one page of a list; want all of it, as perfgate audit export writes it")
	}
	return nil
}

// takesAway are the changes, revocations aside, that may have taken a right away.
var takesAway = map[string]bool{
	"key.update": true, "key.rotate": true, "allowlist.update": true,
	"account.update": true, "account.delete": true, "tier.update": true, "tier.delete": true,
	"operator_tokens.update": true,
}
