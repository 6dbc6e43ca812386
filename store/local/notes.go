package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
)

// Watched is one request as [Config.Watch] gets it, whole or refused.
type Watched struct {
	At         time.Time
	Account    store.AccountID
	Key        store.KeyID
	IP         netip.Addr
	Country    Country
	Agent      string // "" where no audit event is kept
	Hint       string // of a refused credential without a key
	Method     string
	Route      string
	Status     int
	Reason     string // the code of a refusal
	Kind       FailureKind
	Management bool
}

// maxTexts bounds the texts that the writer keeps because they come again and again: those
// of accounts, keys, programs and routes, of up to 200 octets each as a rule.
const maxTexts = 4096

// texts are such texts.
type texts map[string]string

// of is p as a string, without a new one if it was there lately.
func (t texts) of(p []byte) string {
	if s, ok := t[string(p)]; ok {
		return s
	}
	if len(t) == maxTexts {
		clear(t)
	}
	s := string(p)
	t[s] = s
	return s
}

// watching hands requests on: all in the same room, since nobody keeps it.
type watching struct {
	room  Watched
	texts texts
}

// hand hands a record on.
func (w *watching) hand(to func(*Watched), r *record, v *request[[]byte], ip netip.Addr, country Country) {
	if to == nil {
		return
	}
	s := &w.room
	*s = Watched{
		At: at(r.ns), Account: store.AccountID(w.texts.of(r.account)), Key: store.KeyID(w.texts.of(v.key)), IP: ip, Country: country,
		Agent: w.texts.of(v.agent), Method: v.methodName(), Route: w.texts.of(v.route), Status: v.status, Management: r.flags&recCounted == 0,
	}
	if r.flags&recDenied != 0 {
		s.Reason = w.texts.of(v.reason)
		s.Kind = kindOf(v.status, s.Reason, len(v.by) > 0 && len(v.key) == 0)
		if len(v.key) == 0 && len(v.by) == 0 {
			s.Hint = string(v.hint)
		}
	}
	to(s)
}

// A note is something that was found in requests. Notes are kept for noteKeep, and
// maxNotes at most: each is a finding that people should read.
const (
	noteKeep = 90 * 24 * time.Hour
	maxNotes = 20_000
)

func noteKey(t time.Time, id string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{rowNote}, nanos(t)), id...)
}

// Notes are the findings and habits that were kept. See [Local.Notes].
type Notes struct{ l *Local }

// Notes are what was learned from requests.
func (l *Local) Notes() Notes { return Notes{l} }

// Add keeps a note. One with the same time and id replaces it.
func (n Notes) Add(t time.Time, id string, note []byte) error {
	return n.set(noteKey(t, id), note, "keep a finding")
}

// Each calls use with the notes of a time, the newest first, until it returns false. The
// value is valid during the call.
func (n Notes) Each(from, to time.Time, use func(note []byte) bool) error {
	l := n.l
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: noteKey(from, ""), UpperBound: noteKey(to, "")})
	if err != nil {
		return err
	}
	for ok := it.Last(); ok && use(it.Value()); {
		ok = it.Prev()
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("read findings: %w", err)
	}
	return nil
}

// expired is the end of the rows of notes that are older than end, or beyond the bound.
func (n Notes) expired(end time.Time) (upto []byte, err error) {
	it, err := n.l.db.NewIter(&pebble.IterOptions{LowerBound: noteKey(end, ""), UpperBound: []byte{rowNote + 1}})
	if err != nil {
		return nil, err
	}
	upto = noteKey(end, "")
	kept := 0
	for ok := it.Last(); ok; ok = it.Prev() {
		if kept++; kept > maxNotes {
			upto = append([]byte{}, it.Key()...)
			upto = append(upto, 0)
			break
		}
	}
	return upto, errors.Join(it.Error(), it.Close())
}

func habitKey(key store.KeyID) []byte { return append([]byte{rowHabit}, clip(string(key), maxName)...) }

// Habit is what was kept of a key's habit; nil if there is none.
func (n Notes) Habit(key store.KeyID) ([]byte, error) {
	l := n.l
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	v, err := l.get(habitKey(key))
	if err != nil {
		return nil, fmt.Errorf("read the habit of key %s: %w", key, err)
	}
	return v, nil
}

// SetHabit keeps a key's habit.
func (n Notes) SetHabit(key store.KeyID, habit []byte) error {
	return n.set(habitKey(key), habit, "keep a habit")
}

// set writes a row that a power loss may forget.
func (n Notes) set(key, value []byte, what string) error {
	l := n.l
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	if err := l.db.Set(key, value, pebble.NoSync); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	l.unsynced.Store(true)
	return nil
}
