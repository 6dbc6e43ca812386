package manage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// Figures of hygiene.
const (
	neverUsedAfter = 7 * 24 * time.Hour  // since the creation
	idleAfter      = 90 * 24 * time.Hour // since the last use
	scopesKnown    = 30 * 24 * time.Hour // of use, before a scope counts as never exercised
	sharedBy       = 20                  // addresses in a day
	suggestedLife  = 90 * 24 * time.Hour
	maxHygiene     = 10_000 // findings of an answer
)

// untidy is one finding about a key, with the command that mends it.
type untidy struct {
	Key     store.KeyID   `json:"key_id"`
	Name    string        `json:"name"`
	Type    store.KeyType `json:"type"`
	Finding string        `json:"finding"`
	Detail  string        `json:"detail"`
	Command string        `json:"command"`
}

// hygiene is the answer of GET /v1/security/hygiene.
type hygiene struct {
	Checked   int             `json:"checked"` // keys
	Data      []untidy        `json:"data"`
	Truncated bool            `json:"truncated"`
	Missing   []chain.Missing `json:"missing"`
}

// Hygiene looks at every key of the account that is accepted.
func (h *Security) Hygiene(c *rest.Call) (*hygiene, error) {
	if err := c.Export(); err != nil {
		return nil, err
	}
	out := &hygiene{Data: []untidy{}, Missing: []chain.Missing{}}
	kq := store.KeyQuery{Account: c.Account, Now: c.Now, Limit: rest.MaxLimit}
	for more := true; more && !out.Truncated; more = kq.After != "" {
		keys, next, err := h.Keys.Store.Keys(kq)
		if err != nil {
			return nil, err
		}
		if err := h.look(c, keys, out); err != nil {
			return nil, err
		}
		if err := c.Request.Context().Err(); err != nil {
			return nil, err
		}
		kq.After = next
	}
	nameMissing(c, out.Missing)
	return out, nil
}

// look adds what is untidy about keys.
func (h *Security) look(c *rest.Call, keys []*store.Key, out *hygiene) error {
	keys = slices.DeleteFunc(keys, func(k *store.Key) bool {
		state := k.State(c.Now)
		return state == store.Revoked || state == store.Expired
	})
	ids := convert(keys, func(k *store.Key) store.KeyID { return k.ID })
	profiles, missing, err := h.Observed.Profiles(c.Request.Context(), ids)
	if err != nil {
		return err
	}
	uses, absent := h.Observed.LastUses(c.Request.Context(), ids)
	if out.Missing = missing; len(absent) > len(missing) {
		out.Missing = absent
	}
	out.Checked += len(keys)
	for _, k := range keys {
		use, used := uses[k.ID]
		l := looking{h: h, c: c, key: k, profile: profiles[k.ID], use: use, used: used, complete: len(out.Missing) == 0}
		for _, check := range []func() (string, string, string){l.idle, l.shared, l.late, l.endless} {
			if finding, detail, command := check(); finding != "" {
				l.add(finding, detail, command)
			}
		}
		l.scopes()
		l.dead()
		if out.Data = append(out.Data, l.found...); len(out.Data) > maxHygiene {
			out.Data, out.Truncated = out.Data[:maxHygiene], true
			return nil
		}
	}
	return nil
}

// looking is a look at one key.
type looking struct {
	h        *Security
	c        *rest.Call
	key      *store.Key
	profile  insight.Profile
	use      local.LastUse
	used     bool
	complete bool // all nodes have answered: what none has seen has not happened
	found    []untidy
}

func (l *looking) add(finding, detail, command string) {
	k := l.key
	l.found = append(l.found, untidy{Key: k.ID, Name: k.Name, Type: k.Type, Finding: finding, Detail: detail, Command: "perfgate " + command})
}

func days(d time.Duration) string { return strconv.Itoa(int(d/(24*time.Hour))) + " days" }

func (l *looking) idle() (finding, detail, command string) {
	revoke := fmt.Sprintf("keys revoke %s --reason unused", l.key.ID)
	age := l.c.Now.Sub(l.key.CreatedAt)
	switch {
	case !l.complete:
		return "", "", ""
	case !l.used && age >= neverUsedAfter:
		return "never_used", "created " + days(age) + " ago and never used", revoke
	case l.used && l.c.Now.Sub(l.use.At) >= idleAfter:
		return "idle", "last used " + days(l.c.Now.Sub(l.use.At)) + " ago", revoke
	}
	return "", "", ""
}

func (l *looking) shared() (finding, detail, command string) {
	if l.profile.Addresses < sharedBy {
		return "", "", ""
	}
	return "shared", fmt.Sprintf("used from about %d addresses in a day: give each client a key of its own", l.profile.Addresses),
		fmt.Sprintf("keys create %s --type %s", quoteShell(l.key.Name+" (one client)"), l.key.Type)
}

func (l *looking) late() (finding, detail, command string) {
	due := l.key.CreatedAt.Add(store.RotationDue)
	if l.key.ReplacedBy != "" || !l.c.Now.After(due) {
		return "", "", ""
	}
	return "rotation_late", "due for rotation since " + due.UTC().Format(time.DateOnly), fmt.Sprintf("keys rotate %s", l.key.ID)
}

func (l *looking) endless() (finding, detail, command string) {
	if l.key.Type != store.Live || !l.key.ExpiresAt.IsZero() || l.key.ReplacedBy != "" {
		return "", "", ""
	}
	return "no_expiry", "a live key that never expires", fmt.Sprintf("keys update %s --expires-in %dd", l.key.ID, suggestedLife/(24*time.Hour))
}

// exercised are the scopes whose use is known.
var exercised = map[string]insight.Did{
	"read": insight.DidRead, "write": insight.DidWrite, "verify": insight.DidVerify, "limit": insight.DidLimit, "admin": insight.DidAdmin,
}

// scopes looks for scopes that a key which is in use has never made use of.
func (l *looking) scopes() {
	if !l.complete || l.profile.First.IsZero() || l.c.Now.Sub(l.profile.First) < scopesKnown {
		return
	}
	var idle, rest []string
	for _, s := range l.key.Scopes {
		if did, ok := exercised[s]; ok && l.profile.Did&did == 0 {
			idle = append(idle, s)
		} else {
			rest = append(rest, s)
		}
	}
	if len(idle) == 0 || len(rest) == 0 || slices.Contains(rest, "admin") { // admin has all others
		return
	}
	l.add("scopes_unused", "used since "+l.profile.First.Format(time.DateOnly)+", and never for "+strings.Join(idle, ", "),
		fmt.Sprintf("keys update %s --scope %s", l.key.ID, strings.Join(rest, ",")))
}

// dead looks for scopes and routes that open nothing on this node.
func (l *looking) dead() {
	var scopes, routes []string
	for _, s := range l.key.Scopes {
		if one := []string{s}; len(l.h.Keys.unused(&one, nil)) == 0 {
			scopes = append(scopes, s)
		}
	}
	for _, r := range l.key.Routes {
		if one := []string{r}; len(l.h.Keys.unused(nil, &one)) == 0 {
			routes = append(routes, r)
		}
	}
	warnings := l.h.Keys.unused(&l.key.Scopes, &l.key.Routes)
	if len(warnings) == 0 {
		return
	}
	command := "keys update " + string(l.key.ID)
	if len(scopes) < len(l.key.Scopes) {
		command += " --scope " + listOrNone(scopes)
	}
	if len(routes) < len(l.key.Routes) {
		command += " --route " + listOrNone(routes)
	}
	if len(scopes) == 0 || len(routes) == 0 && len(l.key.Routes) > 0 { // no routes are all routes
		command = fmt.Sprintf("keys revoke %s --reason unused", l.key.ID)
	}
	l.add("opens_nothing", strings.Join(warnings, "; "), command)
}

func listOrNone(list []string) string {
	for i := range list {
		list[i] = quoteShell(list[i])
	}
	return strings.Join(list, ",")
}

// quoteShell writes s as one word of a shell.
func quoteShell(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
