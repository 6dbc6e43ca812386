package recovery

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/store"
)

// The texts of a restore. It undoes the revocations after the backup, and the
// operator must learn that before a key works again.

// reason is the sentence in the audit event of the restore.
func (p *restorePlan) reason() string {
	r := p.report
	b := r.Backup
	s := fmt.Sprintf("restored from the backup that %s took of %s at %s (index %d). Keys that were revoked, disabled or changed after that are back in their state at that time: %d are active.",
		b.Node, b.ClusterID, b.CreatedAt.Format(time.RFC3339), b.Applied, b.Census.Active-p.ended)
	if r.Audited {
		s += fmt.Sprintf(" %d keys that an audit export shows as revoked after the backup were revoked again; %d other changes in it are undone.", len(r.Revoked), r.UndoneN)
	} else {
		s += " No audit export of the time after the backup was given, so no revocation of that time was repeated."
	}
	if n := len(r.Erased); n > 0 {
		s += fmt.Sprintf(" %d erasures after the backup were repeated.", n)
	}
	if p.unseen != nil {
		return s + " The usage of this month is the most that could have been used since the backup."
	}
	return s + " The usage of this month is that of the backup; use after the backup is not counted."
}

// warn collects the warnings that a person needs before the first request.
func (p *restorePlan) warn(now time.Time) {
	r := p.report
	b := r.Backup
	at := b.CreatedAt.Format(time.RFC3339)
	add := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	add("the backup was taken at %s, %s ago. KEYS THAT WERE REVOKED, DISABLED, ROTATED OR RESTRICTED AFTER THAT WORK AGAIN: %d keys are active now",
		at, now.Sub(b.CreatedAt).Round(time.Second), b.Census.Active-p.ended)
	switch {
	case !r.Audited:
		add("no audit export (--audit FILE) was given, so revocations after %s are unknown; revoke by hand the keys that must not work", at)
	default:
		add("%d keys that the audit export shows as revoked were revoked again; revocations that it does not cover (other accounts, the time after the export) were not", len(r.Revoked))
		if r.UndoneN > 0 {
			add("%d other changes that may have taken rights away are undone and must be made again:", r.UndoneN)
			for _, c := range r.Undone[:min(len(r.Undone), 20)] {
				add("  %s %s %s", c.Time.Format(time.RFC3339), c.Action, c.Target)
			}
			if r.UndoneN > 20 {
				add("  and %d more (--json shows them)", r.UndoneN-20)
			}
		}
	}
	if b.CreatedAt.After(now) {
		add("the backup is from the future: the clock of this machine or that of node %s is wrong", b.Node)
	}
	if p.unseen != nil {
		add("the usage of this month is that of the backup plus the most that the minute limits could have admitted since %s, up to the month's limit; budgets count as used up. Customers with quota left may be refused", at)
	} else {
		add("the usage of this month is that of the backup. Use after %s is not counted, so it can be used again (--count-unknown counts the most that is possible)", at)
	}
}

// print writes the report.
func (p *restorePlan) print(c Console, fs *pflag.FlagSet) error {
	r := p.report
	for _, w := range r.Warnings {
		c.say("%s", w)
	}
	if asJSON, _ := fs.GetBool("json"); asJSON {
		return printJSON(c.Out, r)
	}
	out := c.Out
	fmt.Fprintf(out, "restored   %s\ncluster    %s (was %s)\n", r.DataDir, r.ClusterID, r.Backup.ClusterID)
	b := &r.Backup.Census
	fmt.Fprintf(out, "holds      %d accounts, %d keys, %d of them active\n", b.Accounts, b.Keys, b.Active-p.ended)
	if p.unseen != nil {
		fmt.Fprintf(out, "months     %d raised to the most that can have been used\n", r.Raised)
	}
	for _, ids := range p.revoke {
		for _, id := range slices.Sorted(slices.Values[[]store.KeyID](ids)) {
			fmt.Fprintf(out, "revoked    %s\n", id)
		}
	}
	for _, e := range r.Erased {
		fmt.Fprintf(out, "erased     %s (%s)\n", e.Account, e.ID)
	}
	_, err := fmt.Fprintf(out, "\nStart it with: perfgate serve --data-dir %s\n"+
		"The operator tokens of the backup are valid; PERFGATE_OPERATOR_TOKEN at that start replaces them. Other nodes join with empty directories.\n", r.DataDir)
	return err
}
