package ui

import (
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/iprange"
)

// allowlistEditor is the account's list as a text that is edited.
type allowlistEditor struct {
	Text    string
	ETag    string // of the list that the text began with
	Own     string // the address that the browser comes from; "" if it has none
	OwnIn   bool   // the saved list contains it
	Entries int    // of the saved list
	Lines   []badLine
	Ask     bool // whether to save in spite of a warning
	May     bool
	Late    *client.Revocation // of a change that a node has not confirmed
	Trial   *trialView
	Within  string // the time of a trial, in words; "" where none can be had
	Passing *passing
}

// passing tells whether an address would pass a list.
type passing struct {
	Address string // as it was entered
	Passes  bool
	Line    int    // of the entry that contains it; 0: the list is empty, or none does
	Entry   string // that is on the line
	Problem string // why nothing can be told
}

// trialView is a list on trial.
type trialView struct {
	ConfirmBy time.Time
	SetBy     string
}

// trialOf is the trial of a list; nil without one.
func trialOf(list *client.Allowlist) *trialView {
	if list.Pending == nil {
		return nil
	}
	return &trialView{list.Pending.ConfirmBy, list.Pending.SetBy}
}

// trialTime is how long a person has to confirm a list on trial.
const trialTime = 5 * time.Minute

// badLine is a line of the text that the API refused.
type badLine struct {
	Number        int
	Text, Message string
}

func allowlistPage(v *visit) error {
	b, err := v.savedAllowlist()
	if err != nil {
		return err
	}
	p := &page{Title: "IP Allowlist", Body: b}
	switch v.query("saved") {
	case "1":
		p.Notice = "Saved. Every node applies the list."
	case "kept":
		p.Notice = "The list stays."
	case "reverted":
		p.Notice = "The list from before is back. Every node applies it."
	}
	return v.render(http.StatusOK, "allowlist", p)
}

// savedAllowlist is the editor with the list as it is.
func (v *visit) savedAllowlist() (*allowlistEditor, error) {
	list, err := v.api.GetAllowlist(v.context())
	if err != nil {
		return nil, err
	}
	b := &allowlistEditor{ETag: list.ETag, Entries: len(list.Entries), May: v.me.may(manage), Trial: trialOf(list)}
	if v.ui.cfg.Facts().Trials {
		b.Within = distance(trialTime)
	}
	var text strings.Builder
	own := v.ui.cfg.Client(v.r)
	for _, e := range list.Entries {
		text.WriteString(e.CIDR)
		if e.Note != "" {
			text.WriteString(" # " + e.Note)
		}
		text.WriteByte('\n')
		if p, err := netip.ParsePrefix(e.CIDR); err == nil && own.IsValid() {
			b.OwnIn = b.OwnIn || p.Contains(own)
		}
	}
	b.Text = text.String()
	if own.IsValid() {
		b.Own = own.String()
	}
	return b, nil
}

// setAllowlist saves the text.
func setAllowlist(v *visit) error {
	text := v.r.PostFormValue("entries")
	if v.form("do") == "check" {
		return checkAddress(v, text)
	}
	force := v.form("force") != ""
	if f := v.guardOwn(text, force); f != nil {
		return v.showAllowlist(text, f)
	}
	opts := []client.Option{client.Header("Content-Type", "text/plain"), client.IfMatch(v.form("etag"))}
	if force {
		opts = append(opts, client.Force())
	}
	q := url.Values{}
	if v.form("trial") != "" {
		q.Set("confirm_within", trialTime.String())
	}
	var out client.Allowlist
	if err := v.api.Do(v.context(), "PUT", "/v1/allowlist", q, strings.NewReader(text), &out, opts...); err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.showAllowlist(text, f)
	}
	return changedAllowlist(v, &out, "1")
}

// changedAllowlist answers a change of the list.
func changedAllowlist(v *visit, list *client.Allowlist, saved string) error {
	if r := list.Revocation; r != nil && !r.Effective {
		b, err := v.savedAllowlist()
		if err != nil {
			return err
		}
		b.Late = r
		return v.render(http.StatusOK, "allowlist", &page{Title: "IP Allowlist", Body: b})
	}
	return v.see("/security/allowlist?saved=" + saved)
}

// endAllowlistTrial keeps the list that is on trial, or brings back the one from before.
func endAllowlistTrial(v *visit) error {
	end, saved := client.Trial{Client: v.api}.Confirm, "kept"
	if v.form("do") == "revert" {
		end, saved = client.Trial{Client: v.api}.Revert, "reverted"
	}
	list, err := end(v.context(), client.IfMatch(v.form("etag")))
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		b, err := v.savedAllowlist()
		if err != nil {
			return err
		}
		return v.render(f.Code.Status(), "allowlist", &page{Title: "IP Allowlist", Body: b, Problem: f})
	}
	return changedAllowlist(v, list, saved)
}

// showAllowlist shows the text again, with the lines that are wrong.
func (v *visit) showAllowlist(text string, f *fault.Error) error {
	b, err := v.savedAllowlist()
	if err != nil {
		return err
	}
	b.Text = text
	b.Ask = f.Code == fault.WouldLockOut || strings.TrimSpace(text) == ""
	if f.Code != fault.PreconditionFailed {
		b.ETag = v.form("etag") // the text began with that list
	}
	b.Lines = badLines(text, f)
	return v.render(f.Code.Status(), "allowlist", &page{Title: "IP Allowlist", Body: b, Problem: f})
}

var lineParam = regexp.MustCompile(`^line (\d+)$`)

// badLines are the lines that a fault names.
func badLines(text string, f *fault.Error) (bad []badLine) {
	all := strings.Split(text, "\n")
	for _, d := range f.Details() {
		m := lineParam.FindStringSubmatch(d.Param)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n < 1 || n > len(all) {
			continue
		}
		bad = append(bad, badLine{n, strings.TrimSpace(all[n-1]), d.Message})
	}
	return bad
}

// guardOwn is a fault if the list would not contain the address that the browser comes
// from. The API guards keys; a person at a browser is warned here, because the keys that
// they use are often on the same network. Lines that are wrong are left to the API.
func (v *visit) guardOwn(text string, force bool) *fault.Error {
	own := v.ui.cfg.Client(v.r)
	if force || !own.IsValid() {
		return nil
	}
	any := false
	for _, entry := range entriesOf(text) {
		any = true
		if p, err := iprange.Parse(entry); err != nil || p.Contains(own) {
			return nil
		}
	}
	if !any {
		return nil
	}
	return fault.Newf(fault.WouldLockOut, "The list does not contain your own address %s: keys that are used from there would be refused. Add the address, or save anyway.", own)
}

// entriesOf are the entries of a text by the number of their line, without blank lines and
// notes.
func entriesOf(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			entry, _, _ := strings.Cut(line, "#")
			if entry = strings.TrimSpace(entry); entry != "" && !yield(n, entry) {
				return
			}
		}
	}
}

// checkAddress tells whether an address would pass the list that is in the form, whether it
// was saved or not. Nothing is changed.
func checkAddress(v *visit, text string) error {
	b, err := v.savedAllowlist()
	if err != nil {
		return err
	}
	p := passes(text, v.form("probe"))
	b.Text, b.ETag, b.Passing = text, v.form("etag"), &p
	return v.render(http.StatusOK, "allowlist", &page{Title: "IP Allowlist", Body: b})
}

// passes judges an address by a list as admission does.
func passes(text, address string) passing {
	out := passing{Address: address}
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		out.Problem = "Enter one address, such as 203.0.113.7 or 2001:db8::1."
		return out
	}
	a = a.Unmap()
	any := false
	for n, entry := range entriesOf(text) {
		any = true
		p, err := iprange.Parse(entry)
		switch {
		case err != nil:
			return passing{Address: address, Problem: "Line " + strconv.Itoa(n) + " " + err.Error() + ". Correct it first."}
		case out.Line == 0 && p.Contains(a):
			out.Line, out.Entry = n, entry
		}
	}
	out.Passes = !any || out.Line > 0
	return out
}
