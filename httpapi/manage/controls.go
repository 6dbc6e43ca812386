package manage

import (
	"fmt"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/span"
)

// The times after which a fact needs attention.
const (
	certificateSoon = 30 * 24 * time.Hour // before its end
	backupOld       = 24 * time.Hour      // or twice the interval, if that is longer
	headOld         = 5 * time.Minute     // heads are signed each minute
)

// transit reports TLS on the listeners and between the nodes.
func (r *report) transit() control {
	c := control{
		Control: "encryption_in_transit", Title: "Encryption in transit: TLS 1.3",
		Setting:    "[proxy.tls] (also of doors.grpc_listen), [admin.tls]: cert_file, min_version; nodes of a cluster always use TLS 1.3 with certificates on both sides",
		Verify:     "sslscan HOST:PORT, or openssl s_client -connect HOST:PORT -tls1_2, which must fail",
		References: []string{"SOC 2 CC6.7", "GDPR Art. 32(1)(a)", "HIPAA 164.312(e)(1)", "ISO 27001 A.8.24"},
	}
	var facts []string
	for _, l := range r.facts.Listeners {
		if !l.TLS {
			facts = append(facts, l.Name+": plaintext"+onLoopback(l.Loopback))
			if !l.Loopback {
				c.attend("the %s listener of %s is plaintext; set [%s], or end TLS in a proxy on this machine", l.Name, r.facts.Node, l.Table)
			}
			continue
		}
		facts = append(facts, fmt.Sprintf("%s: TLS %s or later, certificate until %s", l.Name, l.MinVersion, l.Ends.UTC().Format(time.DateOnly)))
		switch {
		case l.MinVersion != "1.3":
			c.attend("the %s listener of %s accepts TLS %s; remove %s.min_version", l.Name, r.facts.Node, l.MinVersion, l.Table)
		case l.SelfSigned:
			c.attend("the %s listener of %s uses a self-signed certificate; set %s.cert_file", l.Name, r.facts.Node, l.Table)
		case l.Ends.Sub(r.now) < certificateSoon:
			c.attend("the certificate of the %s listener of %s ends at %s; replace its files", l.Name, r.facts.Node, l.Ends.UTC().Format(time.RFC3339))
		}
	}
	c.Fact = r.facts.Node + ": " + strings.Join(facts, "; ") + "."
	return c
}

func onLoopback(yes bool) string {
	if yes {
		return ", reached from this machine alone"
	}
	return ""
}

// rest reports the encryption of the data directory.
func (r *report) rest() control {
	k := &r.keyring
	c := control{
		Control: "encryption_at_rest", Title: "Encryption at rest: AES-256-GCM",
		Setting:    "[encryption] key_file or key_command, or PERFGATE_ENCRYPTION_KEY",
		Verify:     "perfgate keyring status on each node; grep -r for a known key name in the data directory finds nothing",
		References: []string{"SOC 2 CC6.1", "GDPR Art. 32(1)(a)", "HIPAA 164.312(a)(2)(iv)", "ISO 27001 A.8.24"},
	}
	files, old := 0, 0
	for _, d := range k.DataKeys {
		files += d.Files
		if !d.Current {
			old += d.Files
		}
	}
	c.Fact = fmt.Sprintf("%s encrypts %d files with %d data keys; %d files are under an older key. The key of the keys is %s, from the %s.",
		k.Node, files, len(k.DataKeys), old, k.KEK, k.Source)
	if k.KeyBesideData {
		c.attend("the key of %s lies beside the data that it protects; set encryption.key_file or encryption.key_command", k.Node)
	}
	return c
}

func (r *report) retention() control {
	return control{
		Control: "data_retention", Title: "Data retention: 7 to 90 days for each account",
		Setting:    "retention_days of each account",
		Fact:       fmt.Sprintf("%d accounts keep audit events and usage for %d to %d days. Older ones are removed within a day.", r.state.accounts, r.state.shortest, r.state.longest),
		Verify:     "perfgate audit list --order asc --limit 1 for the oldest event of an account",
		References: []string{"SOC 2 C1.1", "GDPR Art. 5(1)(e)", "HIPAA 164.316(b)(2)", "ISO 27001 A.8.10"},
	}
}

func (r *report) deletion() control {
	c := control{
		Control: "data_deletion", Title: "Data deletion on demand",
		Setting: "none: owners and operators erase the data of an account at any time; backup.dir, backup.recipients",
		Fact: "An erasure can be cancelled for 24 h. Then audit events, usage, incidents and sessions of the account go, with everything its keys, users and itself as well. " +
			"Each node also cuts its log, replaces its snapshots and destroys the data key of before. The signed receipt names the nodes, and the backups from before, which keep the data. ",
		Verify:     "perfgate erasures get ID --json > receipt.json; perfgate erasures verify receipt.json --head FILE",
		References: []string{"SOC 2 C1.2", "GDPR Art. 17", "ISO 27001 A.8.10"},
	}
	b := &r.facts.Backup
	switch {
	case !b.Scheduled:
		c.Fact += "No backups are scheduled here; a restore of another one needs the receipt or a later backup to erase again. "
	case b.Encrypted:
		c.Fact += "A restore or a recovery erases again by the signed ledger beside the scheduled backups, which are encrypted for " + b.Sealed + ". "
	default:
		c.Fact += "A restore or a recovery erases again by the signed ledger beside the scheduled backups, which are not encrypted. "
	}
	c.Fact += "The events of an account that is only deleted stay until their retention ends."
	if b.Behind {
		c.attend("the ledger of erasures in backup.dir of %s could not be written; a restore would not erase again what it lacks. The log of the node says why", r.facts.Node)
	}
	return c
}

func (r *report) residency() control {
	c := control{
		Control: "data_residency", Title: "Data residency",
		Setting:    "node.region, [regions]",
		Fact:       "node.region is not set, so the cluster states no region.",
		Verify:     "perfgate cluster status: all nodes show the same region; perfgate accounts list",
		References: []string{"GDPR Art. 44", "ISO 27001 A.5.34"},
	}
	region := r.h.Residency.Region
	if region == "" {
		c.attend("set node.region on every node, if data must stay in a region")
		return c
	}
	c.Fact = fmt.Sprintf("All nodes are in region %s; nodes and accounts of other regions are refused. %d accounts were made for another region before.", region, len(r.state.elsewhere))
	for _, id := range r.state.elsewhere {
		c.attend("account %s belongs to another region", id)
	}
	return c
}

// keys reports the age and the power of live keys.
func (r *report) keys() control {
	s := &r.state
	c := control{
		Control: "key_rotation", Title: "Live keys are rotated within 90 days",
		Setting: "rotation_due_at of each key",
		Fact: fmt.Sprintf("%d live keys are valid: %d are due for rotation, %d never expire, %d have the scope admin.",
			s.liveKeys, len(s.overdue), s.unending, s.withAdmin),
		Verify:     "perfgate keys list --type live --due 0s",
		References: []string{"SOC 2 CC6.1", "HIPAA 164.312(d)", "ISO 27001 A.5.17"},
	}
	for _, id := range s.overdue {
		c.attend("key %s is due since %s; perfgate keys rotate %s", id, s.overdueOf[id].UTC().Format(time.DateOnly), id)
	}
	return c
}

func (r *report) allowlists() control {
	c := control{
		Control: "ip_allowlists", Title: "Live keys work from known addresses alone",
		Setting:    "the allowlist of each account, in tiers with ip_allowlist",
		Fact:       fmt.Sprintf("%d accounts have valid live keys and no allowlist.", len(r.state.open)),
		Verify:     "a request with a key from another address: 403 ip_not_allowed",
		References: []string{"SOC 2 CC6.6", "HIPAA 164.312(a)(1)", "ISO 27001 A.8.20"},
	}
	for _, id := range r.state.open {
		c.attend("account %s has no allowlist; perfgate allowlist add CIDR --account %s", id, id)
	}
	return c
}

// audit reports the log of events and its signed heads.
func (r *report) audit() control {
	c := control{
		Control: "audit_log", Title: "A complete audit log that proves itself",
		Setting:    "audit.requests = " + r.facts.AuditRequests + "; changes and refusals are always recorded",
		Verify:     "perfgate audit export --format json > log.json, then perfgate audit verify log.json --head HEAD with a head that was kept elsewhere",
		References: []string{"SOC 2 CC7.2", "GDPR Art. 30", "HIPAA 164.312(b)", "HIPAA 164.312(c)(1)", "ISO 27001 A.8.15"},
	}
	newest := time.Time{}
	for _, h := range r.heads {
		if h.Time.After(newest) {
			newest = h.Time
		}
	}
	c.Fact = fmt.Sprintf("%d streams of events have signed heads; the newest is of %s.", len(r.heads), newest.UTC().Format(time.RFC3339))
	switch {
	case len(r.heads) == 0:
		c.Fact = "No head of the log is signed yet; the first one is within a minute of the start."
		c.attend("no signed head yet")
	case r.now.Sub(newest) > headOld:
		c.attend("no head was signed for %s; look at the log of the leader", span.Format(r.now.Sub(newest).Round(time.Minute)))
	}
	if r.facts.AuditRequests != "all" {
		c.attend("requests that succeed are not recorded; set audit.requests to \"all\"")
	}
	return c
}

// backups reports the scheduled backups. A node that does not lead writes none.
func (r *report) backups() control {
	b := &r.facts.Backup
	c := control{
		Control: "backups", Title: "Backups, encrypted and recent",
		Setting:    "[backup] dir, every, keep, recipients; PERFGATE_BACKUP_PASSPHRASE",
		Fact:       "No backups are scheduled on " + r.facts.Node + ".",
		Verify:     "perfgate backup verify FILE; restore into an empty directory once a quarter",
		References: []string{"SOC 2 A1.2", "GDPR Art. 32(1)(c)", "HIPAA 164.308(a)(7)(ii)(A)", "ISO 27001 A.8.13"},
	}
	if !b.Scheduled {
		c.attend("set backup.dir, or fetch GET /v1/backup each day")
		return c
	}
	c.Fact = fmt.Sprintf("Every %s the leader writes a backup. The newest that %s wrote or found is of %s.", span.Format(b.Every), r.facts.Node, orNever(b.Last))
	if b.Encrypted {
		c.Fact += " It is encrypted for " + b.Sealed + "."
	} else {
		c.Fact += " It is not encrypted."
		c.attend("scheduled backups are not encrypted; set backup.recipients or PERFGATE_BACKUP_PASSPHRASE")
	}
	if r.now.Sub(b.Last) > max(backupOld, 2*b.Every) && (r.cluster.Leader == r.facts.Node || len(r.cluster.Nodes) == 1) {
		c.attend("the newest backup is older than a day")
	}
	return c
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// availability reports how many nodes may fail.
func (r *report) availability() control {
	c := control{
		Control: "availability", Title: "The service survives the loss of a node",
		Setting:    "[cluster] join, expect",
		Fact:       fmt.Sprintf("%d nodes; %d of them may fail.", len(r.cluster.Nodes), r.cluster.FailureTolerance),
		Verify:     "stop a node and send requests to the others",
		References: []string{"SOC 2 A1.2", "GDPR Art. 32(1)(b)", "HIPAA 164.308(a)(7)", "ISO 27001 A.8.14"},
	}
	for _, why := range r.cluster.Reasons {
		c.attend("%s", why)
	}
	if r.cluster.FailureTolerance == 0 && len(r.cluster.Reasons) == 0 {
		c.attend("run three nodes, so that one of them may fail")
	}
	return c
}
