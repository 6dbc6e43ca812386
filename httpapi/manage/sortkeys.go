package manage

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// keySorts are the orders that a list of keys can be asked for; "-" reverses.
var keySorts = []string{"created_at", "last_used_at", "name", "expires_at", "-created_at", "-last_used_at", "-name", "-expires_at"}

// keySearch is the part of a list that the order of creation does not give.
type keySearch struct {
	text  string    // in lower case; a part of name, id or hint
	due   time.Time // rotation or expiry before then; zero for all
	order string    // a key of keySorts without the "-"
	down  bool
}

// keyPlace is a key's place in an order. As the content of a cursor it carries the
// end of "due" too, so that all pages of a list ask for the same moment.
type keyPlace struct {
	Number int64       `json:"n"`
	Text   string      `json:"t"`
	ID     store.KeyID `json:"i"`
	Due    time.Time   `json:"d"`
}

// readSearch reads the parameters q, due and sort; ok if there is any.
func readSearch(c *rest.Call, q *rest.Query) (s keySearch, ok bool, err error) {
	s.text = strings.ToLower(q.Text("q"))
	order := q.OneOf("sort", keySorts...)
	s.order, s.down = strings.CutPrefix(cmp.Or(order, "created_at"), "-")
	if q.Has("due") {
		d, err := span.Parse(q.Text("due"))
		if err != nil || d < 0 {
			return s, true, rest.InvalidQuery("due", `must be a duration such as "14d" or "36h"`)
		}
		s.due = c.Now.Add(d)
	}
	return s, s.text != "" || order != "" || q.Has("due"), nil
}

// matches reports whether k is one that the search is for.
func (s *keySearch) matches(k *store.Key, now time.Time) bool {
	if s.text != "" && !s.found(k) {
		return false
	}
	if s.due.IsZero() {
		return true
	}
	if state := k.State(now); state == store.Revoked || state == store.Expired {
		return false
	}
	rotation := k.ReplacedBy == "" && !k.CreatedAt.Add(store.RotationDue).After(s.due)
	return rotation || !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(s.due)
}

// found reports whether the text of the search is a part of something that people know k by.
func (s *keySearch) found(k *store.Key) bool {
	has := func(v string) bool { return strings.Contains(strings.ToLower(v), s.text) }
	if has(k.Name) || has(string(k.ID)) || has(k.Hint) || has(k.CreatedBy) {
		return true
	}
	for name, value := range k.Metadata {
		if has(name) || has(value) {
			return true
		}
	}
	return false
}

// place is k's place in the order. A key that was never used comes before all that
// were, one that never expires after all that do.
func (s *keySearch) place(k *store.Key, uses map[store.KeyID]local.LastUse) keyPlace {
	p := keyPlace{ID: k.ID}
	switch s.order {
	case "created_at":
		p.Number = k.CreatedAt.UnixNano()
	case "last_used_at":
		if use, ok := uses[k.ID]; ok {
			p.Number = use.At.UnixNano()
		}
	case "expires_at":
		if p.Number = math.MaxInt64; !k.ExpiresAt.IsZero() && k.ExpiresAt.Year() < 2262 { // the last that nanoseconds hold
			p.Number = k.ExpiresAt.UnixNano()
		}
	case "name":
		p.Text = strings.ToLower(k.Name)
	}
	return p
}

func (s *keySearch) compare(a, b keyPlace) int {
	n := cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Text, b.Text), cmp.Compare(a.ID, b.ID))
	if s.down {
		return -n
	}
	return n
}

// placedKey is a key with its place.
type placedKey struct {
	keyPlace
	key *store.Key
}

// search answers a page of the keys that pass kq and s, in the order of s. It is
// one of the exports: it reads all keys of the account for each page. It holds two pages of them. A page begins
// after the place of the last key of the one before, so that a key that keeps its
// place is listed exactly once.
func (h *Keys) search(c *rest.Call, q *rest.Query, kq store.KeyQuery, s *keySearch, cursor string) (*rest.Page[keyView], error) {
	var after *keyPlace
	if cursor != "" {
		after = new(keyPlace)
		if err := json.Unmarshal([]byte(cursor), after); err != nil {
			return nil, fault.Wrap(fault.InvalidCursor, err)
		}
		s.due = after.Due
	}
	if err := c.Export(); err != nil {
		return nil, err
	}
	size := kq.Limit
	kq.Limit = rest.MaxLimit
	byPlace := func(a, b placedKey) int { return s.compare(a.keyPlace, b.keyPlace) }
	var found []placedKey
	for more := true; more; more = kq.After != "" {
		keys, next, err := h.Store.Keys(kq)
		if err != nil {
			return nil, err
		}
		keys = slices.DeleteFunc(keys, func(k *store.Key) bool { return !s.matches(k, c.Now) })
		var uses map[store.KeyID]local.LastUse
		if s.order == "last_used_at" {
			uses, _ = h.Uses.LastUses(c.Request.Context(), convert(keys, func(k *store.Key) store.KeyID { return k.ID }))
		}
		for _, k := range keys {
			if p := s.place(k, uses); after == nil || s.compare(p, *after) > 0 {
				found = append(found, placedKey{p, k})
			}
		}
		if len(found) > 2*size {
			slices.SortFunc(found, byPlace)
			found = slices.Delete(found, size+1, len(found))
		}
		if err := c.Request.Context().Err(); err != nil {
			return nil, err
		}
		kq.After = next
	}
	slices.SortFunc(found, byPlace)
	out := &rest.Page[keyView]{Data: make([]keyView, 0, min(size, len(found)))}
	for _, p := range found[:min(size, len(found))] {
		out.Data = append(out.Data, h.unusedView(c, p.key))
	}
	h.showUses(c, out.Data)
	if len(found) > size {
		last := found[size-1].keyPlace
		last.Due = s.due
		place, err := json.Marshal(last)
		if err != nil {
			return nil, err
		}
		out.Next = q.Seal(string(place))
	}
	return out, nil
}
