package ui

import (
	"cmp"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// rowsOfKeys is the number of keys on one page of the list.
const rowsOfKeys = 50

// The words that the list can be filtered by.
var (
	keyTypes  = []string{"live", "test"}
	keyStates = []string{"active", "disabled", "rotating", "revoked", "expired"}
)

// keyList is the list of keys.
type keyList struct {
	Keys     []client.Key
	Next     string // the cursor of the next page
	Filtered bool
	Chips    []chip
	Sorts    []sorting
	Types    []string
	States   []string
	May      bool              // make keys
	Manage   bool              // those of others, and several at once
	Lately   map[string]*chart // requests of the last days, by id; absent without any
	Used     map[string]*used  // of the limits, by id, of keys with requests lately
}

// used is the use of the policy that binds a key first.
type used struct {
	Policy string
	Share  int64 // in percent
}

// usedOf are the uses of the limits of those keys that had requests lately: the others have
// used nothing that is worth a look.
func usedOf(v *visit, keys []client.Key, lately map[string]*chart) (map[string]*used, error) {
	var ids []string
	for _, k := range keys { // of one page
		if lately[k.ID] != nil && k.State != "revoked" && k.State != "expired" {
			ids = append(ids, k.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	policies, err := v.api.Insight().KeyLimits(v.context(), ids)
	if ok, err := allowed(err); !ok {
		return nil, err
	}
	out := map[string]*used{}
	for id, list := range policies {
		if name, share := binding(list); name != "" {
			out[id] = &used{name, share}
		}
	}
	return out, nil
}

// daysOfSpark is the range of the small charts in the list.
const daysOfSpark = 7

// lately are the requests of the last days of every key that had any, by id.
func lately(v *visit) (map[string]*chart, error) {
	today := v.ui.cfg.Clock().UTC().Truncate(24 * time.Hour)
	from := today.AddDate(0, 0, 1-daysOfSpark)
	rows, err := v.rows(client.UsageQuery{From: from.Format(time.DateOnly), To: today.Format(time.DateOnly), Step: "day", GroupBy: "key"})
	if ok, err := allowed(err); !ok {
		return nil, err
	}
	byKey := map[string][]client.UsageRow{}
	for _, r := range rows {
		byKey[text(r.Group)] = append(byKey[text(r.Group)], r)
	}
	charts := map[string]*chart{}
	for id, rows := range byKey {
		if c := newChart(rows, from, today.AddDate(0, 0, 1), "day"); c.Requests > 0 {
			charts[id] = c
		}
	}
	return charts, nil
}

// chip is a filter that is in force, and can be removed.
type chip struct{ Name, Label, Value string }

// sorting is a column that the list can be sorted by.
type sorting struct{ Label, Value string }

var keySortings = []sorting{
	{"Newest first", "-created_at"}, {"Oldest first", "created_at"}, {"Last used", "-last_used_at"}, {"Longest unused", "last_used_at"},
	{"Name", "name"}, {"Expires first", "expires_at"},
}

// keyFilters are the parameters of the list, with their labels.
var keyFilters = []chip{
	{Name: "q", Label: "Contains"}, {Name: "type", Label: "Type"}, {Name: "state", Label: "State"}, {Name: "environment", Label: "Environment"},
	{Name: "created_by", Label: "Created by"}, {Name: "due", Label: "Due within"},
}

// listKeys shows the account's keys. The filters stand in the URL.
func listKeys(v *visit) error {
	f := client.KeyFilter{
		Q: strings.TrimSpace(v.query("q")), Type: v.query("type"), State: v.query("state"), Environment: v.query("environment"),
		CreatedBy: v.query("created_by"), Due: v.query("due"), Sort: cmp.Or(v.query("sort"), keySortings[0].Value),
		Page: client.Page{Limit: rowsOfKeys, Cursor: v.query("cursor")},
	}
	b := keyList{Sorts: keySortings, Types: keyTypes, States: keyStates, May: v.me.may(makeKeys), Manage: v.me.may(manage)}
	for _, c := range keyFilters {
		if c.Value = strings.TrimSpace(v.query(c.Name)); c.Value != "" {
			b.Chips, b.Filtered = append(b.Chips, c), true
		}
	}
	list, err := v.api.ListKeys(v.context(), f)
	if err != nil {
		return err
	}
	b.Keys, b.Next = list.Data, text(list.Next)
	if len(b.Keys) > 0 {
		if b.Lately, err = lately(v); err != nil {
			return err
		}
		if b.Used, err = usedOf(v, b.Keys, b.Lately); err != nil {
			return err
		}
	}
	return v.show("keys", "API Keys", b)
}
