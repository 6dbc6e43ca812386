package store

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A row that was cut or extended is an error of every decoder, never half a value.
func TestCutRows(t *testing.T) {
	k := samples()["key_create"].Change.(*KeyCreate).Key
	event := packEvent(nil, &Event{Time: epoch, Action: "key.create", EventType: EventCreate, Target: "x", Request: &EventRequest{RequestInfo: RequestInfo{ID: "r"}}}, nil)
	withPath := packEvent(nil, &Event{Time: epoch, Action: "key.create", EventType: EventCreate, Request: &EventRequest{Path: "/v1/keys", StartedAt: epoch}}, nil)
	row := eventRow("a", epoch, 1, 2)
	for name, c := range map[string]struct {
		value  []byte
		decode func([]byte) error
	}{
		"key": {packKey(nil, &k), func(b []byte) error { _, err := unpackKey(b); return err }},
		"record": {packRecord(nil, &k), func(b []byte) error {
			var r Record
			_, _, extra, err := unpackRecord(&r, string(b))
			if err == nil {
				_, _, err = unpackExtra(extra, listRoutes)
			}
			return err
		}},
		"allowlist": {packAllowlist([]AllowEntry{{CIDR: k.Allowlist[0], Note: "note"}}, 7), func(b []byte) error {
			_, _, err := unpackAllowlist(b)
			return err
		}},
		"event":             {event, func(b []byte) error { _, _, err := unpackEvent(row, b); return err }},
		"event with a path": {withPath, func(b []byte) error { _, _, err := unpackEvent(row, b); return err }},
		"days":              {packDays(300), func(b []byte) error { _, err := unpackDays(b); return err }},
	} {
		if err := c.decode(c.value); err != nil {
			t.Errorf("%s: whole: %v", name, err)
		}
		for n := 1; n < len(c.value); n++ {
			if c.decode(c.value[:n]) == nil {
				t.Errorf("%s: %d of %d bytes were decoded", name, n, len(c.value))
			}
		}
		// The last texts of an event need no end: nothing follows them.
		if !strings.HasPrefix(name, "event") && c.decode(append(bytes.Clone(c.value), 0)) == nil {
			t.Errorf("%s: a byte after its end was ignored", name)
		}
	}
}

// A damaged row fails the call that meets it, with an error that names the call, and no
// other call.
func TestDamagedRows(t *testing.T) {
	h := begun(t)
	good := h.must(create("good")).Key
	bad := h.must(create("bad")).Key
	id := h.row(named(rowKeyID, bad.ID))
	for _, row := range [][]byte{hashRow(nil, &bad.Hash), id} {
		if err := h.db.Set(row, []byte{99}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	h.cache.drop()
	if r, err := h.Lookup(bad.Hash); r != nil || err == nil || !strings.Contains(err.Error(), "look up a key") {
		t.Errorf("lookup: %+v, %v", r, err)
	}
	if k, err := h.Key(bad.ID); k != nil || err == nil {
		t.Errorf("read: %+v, %v", k, err)
	}
	if r, err := h.Lookup(good.Hash); r == nil || err != nil {
		t.Errorf("the other key: %+v, %v", r, err)
	}
	if k, err := h.Key(good.ID); k == nil || err != nil {
		t.Errorf("the other key: %+v, %v", k, err)
	}
}

// row reads a row of the database.
func (h *harness) row(key []byte) []byte {
	h.Helper()
	v, closer, err := h.db.Get(key)
	if err != nil {
		h.Fatal(err)
	}
	defer closer.Close()
	return bytes.Clone(v)
}

// A dump is the state of one moment: changes beside it are not in it, and it says
// which index and cluster it is of.
func TestDumpIsOneMoment(t *testing.T) {
	h := populated(t, 50)
	want := rowsOf(t, h.Store)
	d, err := h.Dump()
	if err != nil {
		t.Fatal(err)
	}
	if d.Applied != h.Applied() || d.ClusterID != "c1" {
		t.Errorf("a dump of %q at %d, the state is at %d", d.ClusterID, d.Applied, h.Applied())
	}
	h.must(create("later"))
	h.must(&Command{Change: &KeyRevokeBulk{CreatedBy: "op"}})
	raw, err := io.ReadAll(d)
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	if got := rowsOfStream(t, raw); got != want {
		t.Errorf("the dump differs: %s", firstDifference(got, want))
	}
	for row, carried := range map[string]bool{"": false, "o1": false, "x1": false, "h1": true, "i1": true, "e1": true, "s1": true} {
		if Carried([]byte(row)) != carried {
			t.Errorf("row %q is carried: %v", row, !carried)
		}
	}
}

// A lookup that read a key's row before the key was revoked must not put the old
// record back after it; the next lookup reads the new one.
func TestRevokedKeyIsNotResurrected(t *testing.T) {
	h := begun(t)
	k := h.must(create("a")).Key
	generation := h.cache.generation(&k.Hash)
	old, err := h.readRecord(&k.Hash) // as a slow lookup does
	if err != nil || old == nil {
		t.Fatal(old, err)
	}
	h.must(&Command{Change: &KeyRevoke{ID: k.ID}})
	h.cache.put(old, generation)
	r, err := h.Lookup(k.Hash)
	if err != nil || r == nil || r.Revoked == 0 || time.Unix(0, r.Revoked).After(h.at) {
		t.Errorf("after the revocation: %+v, %v", r, err)
	}
	if old.record.Revoked != 0 {
		t.Error("the old record was changed in place")
	}
}
