package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The bounds of an account's allowlist.
const (
	maxAllowEntries = 100_000
	maxAllowBody    = 8 << 20 // bytes
	maxNote         = 200     // characters
)

// allowlist is the account's list in JSON.
type allowlist struct {
	Entries []allowEntry `json:"entries"`
}

type allowEntry struct {
	CIDR cidr   `json:"cidr"`
	Note string `json:"note"`
}

func showEntries(entries []store.AllowEntry) allowlist {
	return allowlist{convert(entries, func(e store.AllowEntry) allowEntry { return allowEntry{cidr(e.CIDR), e.Note} })}
}

// newAllowlist is the body of a PUT: addresses are judged one by one, so that
// every bad one can be named.
type newAllowlist struct {
	Entries *[]struct {
		CIDR string `json:"cidr"`
		Note string `json:"note"`
	} `json:"entries"`
	Force bool `json:"force"` // as in the query
}

// changedAllowlist answers a PUT.
type changedAllowlist struct {
	allowlist
	Revocation *Revocation `json:"revocation"`
}

func getAllowlist(c *call) error {
	if q := c.query(); q.err != nil {
		return q.err
	}
	entries, tag, err := c.Store.Allowlist(c.account)
	if err != nil {
		return err
	}
	c.etag = tag
	c.w.Header().Set("Vary", "Accept")
	if c.prefersText() {
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if tag != 0 {
			c.w.Header().Set("ETag", etag(tag))
		}
		c.w.Write(appendAllowText(nil, entries))
		return nil
	}
	return c.answer(showEntries(entries))
}

// prefersText holds when Accept names text/plain before, or instead of, JSON.
func (c *call) prefersText() bool {
	for part := range strings.SplitSeq(strings.Join(c.r.Header.Values("Accept"), ","), ",") {
		t, params, err := mime.ParseMediaType(part)
		if err != nil || params["q"] == "0" {
			continue
		}
		switch t {
		case "text/plain":
			return true
		case "application/json", "*/*", "application/*":
			return false
		}
	}
	return false
}

// appendAllowText writes an entry a line, its note as a comment: what
// parseAllowText reads.
func appendAllowText(b []byte, entries []store.AllowEntry) []byte {
	for _, e := range entries {
		b, _ = cidr(e.CIDR).AppendText(b)
		if e.Note != "" {
			b = append(append(b, " # "...), e.Note...)
		}
		b = append(b, '\n')
	}
	return b
}

func setAllowlist(c *call) (any, error) {
	q := c.query("force")
	force := q.truth("force")
	if q.err != nil {
		return nil, q.err
	}
	raw, err := c.read(maxAllowBody, "application/json", "text/plain")
	if err != nil {
		return nil, err
	}
	var entries []store.AllowEntry
	if c.sendsText(raw) {
		entries, err = parseAllowText(raw)
	} else {
		var forced bool
		entries, forced, err = parseAllowJSON(raw)
		force = force || forced
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		if err := c.allowlistInTier(); err != nil {
			return nil, err
		}
	}
	if c.caller.record != nil && !force {
		prefixes := make([]netip.Prefix, len(entries))
		for i, e := range entries {
			prefixes[i] = e.CIDR
		}
		if err := c.lockedOut(prefixes); err != nil {
			return nil, err
		}
	}
	match, err := c.ifMatch(func() (uint64, error) {
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return 0, err
		}
		_, tag, err := c.Store.Allowlist(c.account)
		return tag, err
	})
	if err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{Match: match, AllowlistSet: &store.AllowlistSet{Entries: entries}})
	if err != nil {
		return nil, err
	}
	c.etag = rc.Account.AllowModified
	return changedAllowlist{showEntries(rc.Allowlist), c.revocation(rc)}, nil
}

// allowlistInTier is a fault unless the account's tier includes the feature.
// Apply has the last word on that; asking here first keeps the lock-out guard
// from talking about a list that could not be set anyway.
func (c *call) allowlistInTier() error {
	if err := c.Backend.Linearize(c.r.Context()); err != nil {
		return err
	}
	if cell := c.Store.Cell(c.account); cell != nil {
		if a := cell.Load(); a != nil && !a.Features.IPAllowlist {
			return fault.Newf(fault.FeatureNotInTier, "The tier %q does not include IP allowlists.", a.Tier)
		}
	}
	return nil
}

// lockedOut is a fault if a list of prefixes would shut out the caller's own
// address. An empty list allows everybody.
func (c *call) lockedOut(list []netip.Prefix) error {
	if len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(c.client) }) {
		return nil
	}
	return fault.Newf(fault.WouldLockOut, "The list does not contain your own address %s, so this key would be shut out; repeat with force=true if that is meant.", c.client)
}

// sendsText holds for a body in text: one that says so, or a list that curl
// --data-binary sent without saying what it is.
func (c *call) sendsText(raw []byte) bool {
	switch t, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); t {
	case "text/plain":
		return true
	case formType:
		raw = bytes.TrimLeft(raw, " \t\r\n")
		return len(raw) > 0 && raw[0] != '{' && raw[0] != '['
	}
	return false
}

func parseAllowJSON(raw []byte) (entries []store.AllowEntry, force bool, err error) {
	var in newAllowlist
	if err := decode(raw, &in); err != nil {
		return nil, false, err
	}
	if in.Entries == nil {
		return nil, false, invalid("entries", "is required; an empty array allows every address")
	}
	var list allowBuilder
	for i, e := range *in.Entries {
		list.add("entries."+strconv.Itoa(i), e.CIDR, e.Note)
	}
	entries, err = list.result()
	return entries, in.Force, err
}

// parseAllowText reads an entry a line. Blank lines and those that begin with #
// are skipped; what follows a # behind an entry is its note.
func parseAllowText(raw []byte) ([]store.AllowEntry, error) {
	if !utf8.Valid(raw) {
		return nil, fault.Newf(fault.InvalidRequest, "The body is not UTF-8.")
	}
	var list allowBuilder
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		entry, note, _ := strings.Cut(string(line), "#")
		if entry = strings.TrimSpace(entry); entry != "" {
			list.add("line "+strconv.Itoa(n), entry, strings.TrimSpace(note))
		}
	}
	return list.result()
}

// allowBuilder merges duplicates; the first entry's place stays, and so does
// the first note that says something.
type allowBuilder struct {
	entries []store.AllowEntry
	at      map[netip.Prefix]int
	bad     complaints
	count   int
}

func (l *allowBuilder) add(place, cidr, note string) {
	if l.count++; l.count > maxAllowEntries {
		return
	}
	p, err := parsePrefix(cidr)
	if err == nil && (utf8.RuneCountInString(note) > maxNote || strings.ContainsFunc(note, unicode.IsControl)) {
		err = fmt.Errorf("has a note of more than %d characters or with control characters", maxNote)
	}
	if err == nil && cidr == "" {
		err = errors.New("is empty")
	}
	if err != nil {
		l.bad.add(place, cidr, err)
		return
	}
	if i, ok := l.at[p]; ok {
		if l.entries[i].Note == "" {
			l.entries[i].Note = note
		}
		return
	}
	if l.at == nil {
		l.at = map[netip.Prefix]int{}
	}
	l.at[p] = len(l.entries)
	l.entries = append(l.entries, store.AllowEntry{CIDR: p, Note: note})
}

func (l *allowBuilder) result() ([]store.AllowEntry, error) {
	if l.count > maxAllowEntries {
		return nil, invalid("entries", "has %d entries, and a list may have %d", l.count, maxAllowEntries)
	}
	return l.entries, l.bad.err()
}
