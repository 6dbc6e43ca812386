package recovery

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/seal"
)

// A ledger of erasures lies beside the scheduled backups: a restore of one of them needs
// what was erased after it, and the cluster that knows it may be gone. Its lines are
// erasures, without names of people, and a signature by the key of the audit log.

// maxLedger bounds a ledger file or a receipt, in bytes: 100,000 erasures and more.
const maxLedger = 64 << 20

var ledgerForm = regexp.MustCompile(`^perfgate-(.+)\.erasures$`)

func ledgerName(cluster string) string { return "perfgate-" + cluster + ".erasures" }

// ledger is what is known about erasures after a backup, by id.
type ledger struct {
	taken     map[store.ErasureID]*store.Erasure
	cancelled map[store.ErasureID]*store.Erasure
}

// add takes an erasure that took place or was cancelled; others may still be either.
func (l *ledger) add(e *store.Erasure) {
	if l.taken == nil {
		l.taken, l.cancelled = map[store.ErasureID]*store.Erasure{}, map[store.ErasureID]*store.Erasure{}
	}
	kept := *e
	kept.Nodes, kept.DoneAt, kept.Index, kept.Modified = nil, time.Time{}, 0, 0
	switch {
	case e.ID == "" || e.Account == "":
	case !e.ErasedAt.IsZero():
		kept.State = store.ErasureRunning
		l.taken[e.ID] = &kept
	case e.State == store.ErasureCancelled || !e.CancelledAt.IsZero():
		kept.State = store.ErasureCancelled
		l.cancelled[e.ID] = &kept
	}
}

// list returns those that took place, the oldest first.
func (l *ledger) list() (list []*store.Erasure) {
	for _, e := range l.taken {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *store.Erasure) int {
		return cmp.Or(a.ErasedAt.Compare(b.ErasedAt), strings.Compare(string(a.ID), string(b.ID)))
	})
	return list
}

// lines is the text of the file.
func (l *ledger) lines() (text []byte) {
	all := l.list()
	for _, e := range l.cancelled {
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b *store.Erasure) int { return a.RequestedAt.Compare(b.RequestedAt) })
	for _, e := range all {
		line, err := json.Marshal(e)
		if err != nil {
			panic(err) // plain members
		}
		text = append(append(text, line...), '\n')
	}
	return text
}

// readFile takes a file into account: a ledger, the receipt of an erasure, or a backup that
// was taken later, which with opens. It returns the signature of a ledger, unchecked.
func (l *ledger) readFile(name string, with seal.With) (*signedLedger, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(1)
	switch {
	case err == io.EOF:
		return &signedLedger{}, nil
	case err != nil:
		return nil, err
	case head[0] != '{':
		if err := l.readBackup(in, with); err != nil {
			return nil, &damagedLedger{err}
		}
		return nil, nil
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxLedger+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > maxLedger:
		return nil, &damagedLedger{fmt.Errorf("it has more than %d bytes", maxLedger)}
	}
	s, err := l.read(raw)
	if err != nil {
		return nil, &damagedLedger{err}
	}
	return s, nil
}

// read takes the text of a ledger or of a receipt into account.
func (l *ledger) read(raw []byte) (*signedLedger, error) {
	s := &signedLedger{}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for n := 1; ; n++ {
		before := raw[:d.InputOffset()] // all that is taken, however it is broken into lines
		var line ledgerLine
		switch err := json.UnmarshalDecode(d, &line); {
		case err == io.EOF:
			return s, nil
		case err != nil:
			return nil, fmt.Errorf("entry %d: %w", n, err)
		case s.seal != nil:
			return nil, fmt.Errorf("entry %d comes after the signature", n)
		}
		e := &line.Erasure
		if line.Receipt != nil {
			e = &line.Receipt.Statement.Erasure
		} else if line.Statement != nil {
			e = &line.Statement.Erasure
		} else if line.Seal != nil {
			if s.seal = line.Seal; len(before) > 0 {
				s.text = append(slices.Clone(before), '\n')
			}
			continue
		}
		if e.ID == "" || e.Account == "" {
			return nil, fmt.Errorf("entry %d is no erasure: must be a ledger of erasures, a receipt, or a backup", n)
		}
		l.add(e)
	}
}

// ledgerLine is an entry of a ledger, or its signature, or an answer with a receipt, or a receipt.
type ledgerLine struct {
	store.Erasure `json:",inline"`
	Seal          *ledgerSeal      `json:"ledger,omitzero"`
	Statement     *ledgerStatement `json:"statement,omitzero"`
	Receipt       *struct {
		Statement ledgerStatement `json:"statement"`
	} `json:"receipt,omitzero"`
}

type ledgerStatement struct {
	Erasure store.Erasure `json:"erasure"`
}

func (l *ledger) readBackup(src io.Reader, with seal.With) error {
	r, err := backup.NewReader(src, with)
	if err != nil {
		return err
	}
	var rows store.ErasuresOf
	if _, err := r.Visit(r.Header.CreatedAt, func(row, value []byte, _ *store.Key) error { return rows.Add(row, value) }); err != nil {
		return err
	}
	for _, e := range rows.All() {
		l.add(e)
	}
	return nil
}

// readBeside takes the ledgers in a folder of backups into account, but those that the operator
// gave. A folder may be shared: of other clusters, among which those that were restored from
// this one, only erasures of accounts count that are in the backup and of no other cluster. The
// account default is in each. A ledger that counts must be signed by a key in trusted, if there
// is one: it is in the backup, or endorsed by one that is.
func (l *ledger) readBeside(dir string, given []string, cluster string, trusted []chain.Key, holds func(store.AccountID) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for ledgers of erasures: %w", err)
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		m := ledgerForm.FindStringSubmatch(entry.Name())
		if m == nil || !entry.Type().IsRegular() || slices.ContainsFunc(given, func(other string) bool { return sameFile(name, other) }) {
			continue
		}
		var one ledger
		signed, err := one.readFile(name, seal.With{})
		if err != nil {
			return fmt.Errorf("the ledger of erasures %s: %w; repair it, or move it away", name, err)
		}
		counts := false
		for _, of := range []map[store.ErasureID]*store.Erasure{one.taken, one.cancelled} {
			for _, e := range of {
				if m[1] == cluster || e.Account != store.DefaultAccount && holds(e.Account) {
					l.add(e)
					counts = true
				}
			}
		}
		if !counts || len(trusted) == 0 {
			continue
		}
		if err := signed.check(m[1], trusted); err != nil {
			return fmt.Errorf("the ledger of erasures %s: %w; if you trust it nevertheless, name it with --erasures, otherwise move it away", name, err)
		}
	}
	return nil
}

// sameFile reports whether two names lead to one file.
func sameFile(a, b string) bool {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// readGiven takes the files into account that the operator names, and returns a warning for each
// ledger whose signature does not show that it is genuine: the operator vouches for it.
func (l *ledger) readGiven(names []string, with seal.With) (given []givenLedger, err error) {
	for _, name := range names {
		signed, err := l.readFile(name, with)
		if err != nil {
			return nil, fmt.Errorf("erasures in %s: %w", name, err)
		}
		if signed != nil && signed.seal != nil {
			given = append(given, givenLedger{name, signed})
		}
	}
	return given, nil
}

// givenLedger is a signed ledger that the operator named.
type givenLedger struct {
	name   string
	signed *signedLedger
}

// doubts warns of a ledger that trusted does not confirm.
func doubts(given []givenLedger, trusted []chain.Key) (warnings []string) {
	for _, g := range given {
		if err := g.signed.check(g.signed.seal.Cluster, trusted); err != nil {
			warnings = append(warnings, fmt.Sprintf("the ledger of erasures %s: %v. Its erasures are repeated all the same, because --erasures names it", g.name, err))
		}
	}
	return warnings
}

// repeat finds what has to be done again in a state with known erasures.
func (l *ledger) repeat(known *store.ErasuresOf) (commands []*store.Command, erased []*store.Erasure) {
	erased = known.Left(l.list())
	for _, e := range erased {
		commands = append(commands, &store.Command{Account: e.Account, Change: &store.ErasureRun{ID: e.ID, Again: e}})
	}
	for _, e := range known.All() {
		if l.cancelled[e.ID] != nil && e.State == store.ErasureScheduled {
			commands = append(commands, &store.Command{Account: e.Account, Change: &store.ErasureCancel{ID: e.ID}})
		}
	}
	return commands, erased
}

// scheduled are those in the backup that will take place, as far as is known.
func (l *ledger) scheduled(known *store.ErasuresOf) (n int) {
	for _, e := range known.All() {
		if e.State == store.ErasureScheduled && l.taken[e.ID] == nil && l.cancelled[e.ID] == nil {
			n++
		}
	}
	return n
}
