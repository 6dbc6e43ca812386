package manage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"mime"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/invisible"
	"github.com/perfgate/perfgate/httpapi/iprange"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// The bounds of an account's allowlist.
const (
	maxAllowBody = 8 << 20 // bytes
	maxNote      = 200     // characters
)

// allowlistStore is the part of the state that the calls about allowlists read.
type allowlistStore interface {
	Allowlist(store.AccountID) ([]store.AllowEntry, uint64, error)
	Cell(store.AccountID) *store.Cell
}

// Allowlist serves the calls about an account's allowlist.
type Allowlist struct {
	Store  allowlistStore
	Trials store.AllowTrials
}

// allowlist is the account's list in JSON.
type allowlist struct {
	Entries []allowEntry `json:"entries"`
	Pending *pendingView `json:"pending"` // null: nothing has to be confirmed
}

type allowEntry struct {
	CIDR cidr   `json:"cidr"`
	Note string `json:"note"`
}

func showEntries(entries []store.AllowEntry, trial *store.AllowTrial) allowlist {
	return allowlist{convert(entries, func(e store.AllowEntry) allowEntry { return allowEntry{cidr(e.CIDR), e.Note} }), showTrial(trial)}
}

// newAllowlist is the body of a PUT: addresses are judged one by one, so that
// every bad one can be named.
type newAllowlist struct {
	Entries *[]struct {
		CIDR string `json:"cidr"`
		Note string `json:"note"`
	} `json:"entries"`
	Force         bool   `json:"force"`          // as in the query
	ConfirmWithin string `json:"confirm_within"` // as in the query
}

// Check implements [rest.Checker].
func (in *newAllowlist) Check(*rest.Call) error {
	_, err := in.list()
	return err
}

func (in *newAllowlist) list() ([]store.AllowEntry, error) {
	if in.Entries == nil {
		return nil, rest.Invalid("entries", "is required; an empty array allows every address")
	}
	var list allowBuilder
	for i, e := range *in.Entries {
		list.add("entries."+strconv.Itoa(i), e.CIDR, e.Note)
	}
	return list.result()
}

// changedAllowlist answers a PUT.
type changedAllowlist struct {
	allowlist
	Revocation *rest.Revocation `json:"revocation"`
}

// Get shows the list, in JSON or in text.
func (h *Allowlist) Get(c *rest.Call) error {
	entries, tag, err := h.Store.Allowlist(c.Account)
	if err != nil {
		return err
	}
	trial, err := h.Trials.Get(c.Account)
	if err != nil {
		return err
	}
	rest.SetConstant(c, tag)
	c.Writer().Header().Set("Vary", "Accept")
	if prefersText(c) {
		return c.AnswerAs("text/plain; charset=utf-8", appendAllowText(nil, entries))
	}
	return c.Answer(showEntries(entries, trial))
}

// prefersText holds when Accept names text/plain with more weight than JSON, or with the
// same and before JSON.
func prefersText(c *rest.Call) bool {
	accept := c.Request.Header.Values("Accept")
	text, named := fault.Accepts(accept, "text/plain")
	if json, _ := fault.Accepts(accept, "application/json"); !named || text == 0 || text != json {
		return named && text > json
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		switch t, _, _ := mime.ParseMediaType(part); t {
		case "text/plain":
			return true
		case "application/json", "application/*", "*/*":
			return false
		}
	}
	return false
}

// appendAllowText writes an entry a line, its note as a comment, in the form that
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

// Set replaces the list.
func (h *Allowlist) Set(c *rest.Call) (*changedAllowlist, error) {
	q := c.Query()
	force, within := q.Bool("force"), q.Text("confirm_within")
	if q.Err() != nil {
		return nil, q.Err()
	}
	raw, err := c.Body(maxAllowBody, "application/json", "text/plain")
	if err != nil {
		return nil, err
	}
	var entries []store.AllowEntry
	if sendsText(c, raw) {
		entries, err = parseAllowText(raw)
		if err == nil && len(entries) == 0 && !force {
			// A file that could not be written is empty, too.
			err = rest.Invalid("entries", `is empty, which would allow every address; if that is meant, send the JSON {"entries": []}, or repeat with force=true`)
		}
	} else {
		var in newAllowlist
		in, entries, err = parseAllowJSON(c, raw)
		force, within = force || in.Force, cmp.Or(in.ConfirmWithin, within)
	}
	if err != nil {
		return nil, err
	}
	until, err := h.confirmBy(c, within)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		if err := h.inTier(c); err != nil {
			return nil, err
		}
	}
	if c.Caller.Record != nil && !force {
		prefixes := make([]netip.Prefix, len(entries))
		for i, e := range entries {
			prefixes[i] = e.CIDR
		}
		if err := lockedOut(c, prefixes); err != nil {
			return nil, err
		}
	}
	match, err := c.IfMatch(func() (uint64, error) { return h.newestTag(c) })
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Match: match, Change: &store.AllowlistSet{Entries: entries, ConfirmBy: until}})
	if err != nil {
		return nil, err
	}
	var trial *store.AllowTrial
	if !until.IsZero() {
		trial = &store.AllowTrial{ConfirmBy: until.UTC(), SetAt: c.Stamp(), SetBy: c.Caller.Actor}
	}
	c.ETag = rc.Account.AllowModified
	return &changedAllowlist{showEntries(rc.Allowlist, trial), c.Revoked(rc)}, nil
}

// inTier is a fault unless the account's tier includes the feature.
// Apply decides; checking here first keeps the lock-out guard
// from talking about a list that could not be set anyway.
func (h *Allowlist) inTier(c *rest.Call) error { return allowlistInTier(c, h.Store) }

// allowlistInTier is a fault unless the tier of the call's account includes
// allowlists, of the account and of its keys.
func allowlistInTier(c *rest.Call, s interface {
	Cell(store.AccountID) *store.Cell
}) error {
	if err := c.Linearize(); err != nil {
		return err
	}
	if cell := s.Cell(c.Account); cell != nil {
		if a := cell.Load(); a != nil && !a.Features.IPAllowlist {
			return fault.Newf(fault.FeatureNotInTier, "The tier %q does not include IP allowlists.", a.Tier)
		}
	}
	return nil
}

// lockedOut is a fault if a list of prefixes would shut out the caller's own
// address. An empty list allows everybody.
func lockedOut(c *rest.Call, list []netip.Prefix) error {
	if len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(c.Client) }) {
		return nil
	}
	return fault.Newf(fault.WouldLockOut, "The list does not contain your own address %s, so this key would be shut out; repeat with force=true if that is meant.", c.Client)
}

// sendsText holds for a body in text: by its type, or for a list that curl
// --data-binary sent without a type.
func sendsText(c *rest.Call, raw []byte) bool {
	switch t, _, _ := mime.ParseMediaType(c.Request.Header.Get("Content-Type")); t {
	case "text/plain":
		return true
	case rest.FormType:
		raw = bytes.TrimLeft(raw, " \t\r\n")
		return len(raw) > 0 && raw[0] != '{' && raw[0] != '['
	}
	return false
}

func parseAllowJSON(c *rest.Call, raw []byte) (in newAllowlist, entries []store.AllowEntry, err error) {
	if err := c.Decode(raw, &in); err != nil {
		return in, nil, err
	}
	entries, err = in.list()
	return in, entries, err
}

// parseAllowText reads an entry a line. Blank lines and those that begin with #
// are skipped; the text after a # that follows an entry is its note.
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
// the first note that is not empty.
type allowBuilder struct {
	entries []store.AllowEntry
	at      map[netip.Prefix]int
	bad     complaints
	count   int
}

func (l *allowBuilder) add(place, cidr, note string) {
	if l.count++; l.count > store.MaxAllowlist {
		return
	}
	p, err := iprange.Parse(cidr)
	if err == nil && (utf8.RuneCountInString(note) > maxNote || invisible.In(note, "") != "") {
		err = fmt.Errorf("has a note of more than %d characters or with characters that cannot be seen", maxNote)
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
	if l.count > store.MaxAllowlist {
		return nil, rest.Invalid("entries", "has %d entries, and a list may have %d", l.count, store.MaxAllowlist)
	}
	return l.entries, l.bad.err()
}
