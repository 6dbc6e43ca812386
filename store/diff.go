package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// diff collects the differences between two states of a thing, as the two JSON
// objects of an event's changes: only the fields that differ, in a fixed order.
// It is written by hand because every created key passes through it.
type diff struct{ before, after []byte }

// changes is {"before":…,"after":…}; before is null for something created.
func (d *diff) changes(created bool) json.RawMessage {
	b := make([]byte, 0, len(`{"before":{},"after":{}}`)+len(d.before)+len(d.after))
	b = append(b, `{"before":`...)
	if created {
		b = append(b, "null"...)
	} else {
		b = append(append(append(b, '{'), d.before...), '}')
	}
	b = append(append(b, `,"after":{`...), d.after...)
	return append(b, "}}"...)
}

func member(b []byte, name string) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func quote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // its only fault is invalid UTF-8, which it replaces
	return b
}

func (d *diff) text(name, before, after string) {
	if before != after {
		d.before = quote(member(d.before, name), before)
		d.after = quote(member(d.after, name), after)
	}
}

func (d *diff) flag(name string, before, after bool) {
	if before != after {
		d.before = strconv.AppendBool(member(d.before, name), before)
		d.after = strconv.AppendBool(member(d.after, name), after)
	}
}

func (d *diff) number(name string, before, after int64) {
	if before != after {
		d.before = strconv.AppendInt(member(d.before, name), before, 10)
		d.after = strconv.AppendInt(member(d.after, name), after, 10)
	}
}

func (d *diff) time(name string, before, after time.Time) {
	if !before.Equal(after) {
		d.before = appendTime(member(d.before, name), before)
		d.after = appendTime(member(d.after, name), after)
	}
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

func (d *diff) list(name string, before, after []string) {
	if !slices.Equal(before, after) {
		d.before = appendList(member(d.before, name), before)
		d.after = appendList(member(d.after, name), after)
	}
}

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = quote(b, s)
	}
	return append(b, ']')
}

// raw takes values that are JSON already.
func (d *diff) raw(name, before, after string) {
	if before != after {
		d.before = append(member(d.before, name), before...)
		d.after = append(member(d.after, name), after...)
	}
}

// diffKeys compares two states of a key. The hash is left out: it must not
// leave the store.
func diffKeys(old, k *Key, created bool) json.RawMessage {
	d := diff{after: make([]byte, 0, 256)}
	d.text("name", old.Name, k.Name)
	if created {
		d.after = quote(member(d.after, "type"), k.Type.String())
	}
	d.text("environment", old.Environment, k.Environment)
	d.list("scopes", old.Scopes, k.Scopes)
	d.text("hint", old.Hint, k.Hint)
	d.text("created_by", old.CreatedBy, k.CreatedBy)
	d.flag("disabled", old.Disabled, k.Disabled)
	d.time("expires_at", old.ExpiresAt, k.ExpiresAt)
	d.time("overlap_ends_at", old.OverlapEndsAt, k.OverlapEndsAt)
	d.flag("until_unused", old.UntilUnused, k.UntilUnused)
	d.time("revoked_at", old.RevokedAt, k.RevokedAt)
	d.text("revoked_by", old.RevokedBy, k.RevokedBy)
	d.text("revoke_reason", old.RevokeReason, k.RevokeReason)
	d.text("replaces", string(old.Replaces), string(k.Replaces))
	d.text("replaced_by", string(old.ReplacedBy), string(k.ReplacedBy))
	if old.Limits != nil || k.Limits != nil {
		d.raw("limits", jsonLimits(old.Limits), jsonLimits(k.Limits))
	}
	d.raw("max_cost_per_call", jsonMoney(old.MaxCostPerCall), jsonMoney(k.MaxCostPerCall))
	d.raw("monthly_budget", jsonMoney(old.MonthlyBudget), jsonMoney(k.MonthlyBudget))
	if len(old.Allowlist)+len(k.Allowlist) > 0 {
		d.list("allowlist", words(old.Allowlist), words(k.Allowlist))
	}
	d.list("routes", old.Routes, k.Routes)
	if len(old.Metadata)+len(k.Metadata) > 0 {
		d.raw("metadata", jsonMap(old.Metadata), jsonMap(k.Metadata))
	}
	return d.changes(created)
}

func words(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}

func jsonLimits(l *Limits) string {
	if l == nil {
		return "null"
	}
	concurrent := ""
	if l.MaxConcurrent != nil {
		concurrent = `,"max_concurrent":` + jsonNumber(l.MaxConcurrent)
	}
	return fmt.Sprintf(`{"requests_per_minute":%s,"burst":%s,"requests_per_month":%s%s}`,
		jsonNumber(l.PerMinute), jsonNumber(l.Burst), jsonNumber(l.PerMonth), concurrent)
}

func jsonNumber(n *int64) string {
	if n == nil {
		return "null"
	}
	return strconv.FormatInt(*n, 10)
}

// jsonMoney writes an amount in whole units, exactly.
func jsonMoney(m *Money) string {
	if m == nil {
		return "null"
	}
	return string(m.AppendDecimal(nil))
}

func jsonMap(m map[string]string) string {
	b := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = quote(append(quote(b, name), ':'), m[name])
	}
	return string(append(b, '}'))
}

// compare is the changes between two accounts or tiers, by their JSON; nil for
// something that was not, or is no more. Pointers to nil are not passed.
func (t *txn) compare(before, after any) json.RawMessage {
	old, now := t.members(before), t.members(after)
	var d diff
	for _, name := range slices.Sorted(maps.Keys(union(old, now))) {
		switch name {
		case "created", "modified", "allowlist_modified", "limit_rules_created":
			continue // bookkeeping
		}
		d.raw(name, orNull(old[name]), orNull(now[name]))
	}
	if after == nil {
		return fmt.Appendf(nil, `{"before":{%s},"after":null}`, d.before)
	}
	return d.changes(before == nil)
}

func (t *txn) members(v any) map[string]jsontext.Value {
	if v == nil {
		return nil
	}
	var m map[string]jsontext.Value
	if err := jsonv2.Unmarshal(t.rows.json(v), &m); err != nil {
		t.rows.fault(fmt.Errorf("compare for the audit log: %w", err))
	}
	return m
}

func union(a, b map[string]jsontext.Value) map[string]jsontext.Value {
	u := maps.Clone(b)
	if u == nil {
		u = make(map[string]jsontext.Value)
	}
	maps.Copy(u, a)
	return u
}

func orNull(v jsontext.Value) string {
	if v == nil {
		return "null"
	}
	return string(v)
}

// listedChanges is how many entries of an allowlist an event names.
const listedChanges = 100

// compareAllowlists tells how many entries there were and are, and names the
// first that were removed or added: a whole list can have 100,000.
func compareAllowlists(before, after []AllowEntry) json.RawMessage {
	side := func(list, other []AllowEntry, word string) []byte {
		has := make(map[AllowEntry]bool, len(other))
		for _, e := range other {
			has[e] = true
		}
		var names []string
		for _, e := range list {
			if !has[e] && len(names) < listedChanges {
				names = append(names, e.CIDR.String())
			}
		}
		b := strconv.AppendInt(member(nil, "entries"), int64(len(list)), 10)
		return appendList(member(b, word), names)
	}
	d := diff{before: side(before, after, "removed"), after: side(after, before, "added")}
	return d.changes(false)
}
