package manage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// Facts are what a node measures about itself for the compliance report.
type Facts struct {
	Node, Version string
	Listeners     []ListenerFacts
	Backup        BackupFacts
	AuditRequests string // audit.requests
}

// ListenerFacts describe one listener of a node.
type ListenerFacts struct {
	Name        string // proxy, admin, grpc
	Table       string // that configures its TLS: proxy.tls
	Loopback    bool   // reached from this machine alone
	TLS         bool
	MinVersion  string
	SelfSigned  bool // made by the node itself
	Ends        time.Time
	ClientCerts bool // clients must have a certificate
}

// BackupFacts describe the scheduled backups of a node. Only the leader writes them.
type BackupFacts struct {
	Scheduled bool
	Encrypted bool
	Sealed    string // who can open them
	Every     time.Duration
	Last      time.Time // newest good one that this node wrote or found; zero if none
	Behind    bool      // the ledger of erasures beside them could not be written
}

// evidenceStore is the replicated state, as the report reads it.
type evidenceStore interface {
	accountStore
	Keys(store.KeyQuery) ([]*store.Key, store.KeyID, error)
	Allowlist(store.AccountID) ([]store.AllowEntry, uint64, error)
	AuditHeads() ([]chain.Head, error)
}

// evidenceNode is the node that serves the call.
type evidenceNode interface {
	Vault
	Cluster(context.Context) ClusterStatus
	Facts() Facts
}

// Compliance serves the compliance report.
type Compliance struct {
	Store     evidenceStore
	Node      evidenceNode
	Residency Residency
}

// The states of a control.
const (
	controlMet       = "met"       // the measured fact is the one that the control asks for
	controlAttention = "attention" // it is not; the fact and the items say why
)

// maxItems bounds the items that a control lists.
const maxItems = 100

// complianceView is the answer of GET /v1/compliance. The facts are those of the node
// that answers and of the replicated state.
type complianceView struct {
	GeneratedAt time.Time `json:"generated_at"`
	Node        string    `json:"node"`
	Version     string    `json:"version"`
	ClusterID   string    `json:"cluster_id"`
	Region      *string   `json:"region"`
	Data        []control `json:"data"`
}

// control is one control that the standards ask for, with its evidence.
type control struct {
	Control    string   `json:"control"`
	Title      string   `json:"title"`
	State      string   `json:"state"`
	Setting    string   `json:"setting"` // the configuration that decides it
	Fact       string   `json:"fact"`    // measured for this report
	Verify     string   `json:"verify"`  // how to check it without trusting the report
	References []string `json:"references"`
	Items      []string `json:"items"` // that need attention, maxItems at most
	Count      int      `json:"count"` // of all such items
}

// attend adds an item that needs attention.
func (c *control) attend(format string, args ...any) {
	c.State = controlAttention
	if c.Count++; len(c.Items) < maxItems {
		c.Items = append(c.Items, fmt.Sprintf(format, args...))
	}
}

// report gathers the evidence of one moment.
type report struct {
	h       *Compliance
	now     time.Time
	facts   Facts
	keyring KeyringStatus
	cluster ClusterStatus
	state   stateFacts
	heads   []chain.Head
}

// Read serves the report, in JSON or as a page to print.
func (h *Compliance) Read(c *rest.Call) error {
	r := &report{h: h, now: c.Now, facts: h.Node.Facts(), cluster: h.Node.Cluster(c.Request.Context())}
	var err error
	if r.keyring, err = h.Node.Keyring(); err != nil {
		return err
	}
	if r.heads, err = h.Store.AuditHeads(); err != nil {
		return err
	}
	if err := r.state.read(h.Store, &h.Residency, c.Now); err != nil {
		return err
	}
	v := &complianceView{
		GeneratedAt: c.Stamp(), Node: r.facts.Node, Version: r.facts.Version, ClusterID: r.cluster.ClusterID, Region: some(h.Residency.Region),
		Data: r.controls(),
	}
	c.Writer().Header().Set("Vary", "Accept")
	if prefersPage(c) {
		page, err := v.page()
		if err != nil {
			return err
		}
		c.Writer().Header().Set("Content-Security-Policy", pagePolicy)
		return c.AnswerAs("text/html; charset=utf-8", page)
	}
	return c.Answer(v)
}

// controls are all controls, in the order of the report.
func (r *report) controls() []control {
	list := []control{
		r.transit(), r.rest(), r.retention(), r.deletion(), r.residency(), r.keys(), r.allowlists(),
		r.audit(), r.backups(), r.availability(),
	}
	for i := range list {
		if list[i].State == "" {
			list[i].State = controlMet
		}
		if list[i].Items == nil {
			list[i].Items = []string{}
		}
	}
	return list
}

// stateFacts are counts over the replicated state.
type stateFacts struct {
	accounts            int
	shortest, longest   int // retention, in days
	elsewhere           []store.AccountID
	open                []store.AccountID // with active live keys and no allowlist
	overdue             []store.KeyID     // live, active and past the rotation that is due
	overdueOf           map[store.KeyID]time.Time
	liveKeys            int
	withAdmin, unending int // live keys with the scope admin, and without an expiry
}

// keyPage is how many keys are read at once.
const keyPage = 1000

func (f *stateFacts) read(s evidenceStore, home *Residency, now time.Time) error {
	f.shortest, f.longest = store.MaxRetention, store.MinRetention
	f.overdueOf = map[store.KeyID]time.Time{}
	for after := store.AccountID(""); ; {
		page, next := s.Accounts(after, keyPage)
		for _, a := range page {
			f.accounts++
			f.shortest, f.longest = min(f.shortest, a.RetentionDays), max(f.longest, a.RetentionDays)
			if home.check(&a.Region) != nil {
				f.elsewhere = append(f.elsewhere, a.ID)
			}
			if err := f.readKeys(s, a.ID, now); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

func (f *stateFacts) readKeys(s evidenceStore, account store.AccountID, now time.Time) error {
	live, before := store.Live, f.liveKeys
	for after := store.KeyID(""); ; {
		keys, next, err := s.Keys(store.KeyQuery{Account: account, Type: &live, Now: now, After: after, Limit: keyPage})
		if err != nil {
			return err
		}
		for _, k := range keys {
			f.readKey(k, now)
		}
		if next == "" {
			break
		}
		after = next
	}
	if f.liveKeys == before {
		return nil
	}
	entries, _, err := s.Allowlist(account)
	if err == nil && len(entries) == 0 {
		f.open = append(f.open, account)
	}
	return err
}

func (f *stateFacts) readKey(k *store.Key, now time.Time) {
	if !isAccepted(k, now) {
		return
	}
	f.liveKeys++
	if k.ExpiresAt.IsZero() {
		f.unending++
	}
	if slices.Contains(k.Scopes, "admin") {
		f.withAdmin++
	}
	if due := k.CreatedAt.Add(store.RotationDue); k.ReplacedBy == "" && due.Before(now) {
		f.overdue = append(f.overdue, k.ID)
		f.overdueOf[k.ID] = due
	}
}
