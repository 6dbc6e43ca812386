package recovery

import (
	"bufio"
	"cmp"
	"errors"
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
	"github.com/perfgate/perfgate/store/seal"
)

// A ledger of erasures lies beside the scheduled backups: a restore of one of them needs
// what was erased after it, and the cluster that knows it may be gone. Its lines are
// erasures, without names of people.

// maxLedger bounds a ledger file or a receipt, in bytes: 100,000 erasures and more.
const maxLedger = 64 << 20

var ledgerForm = regexp.MustCompile(`^perfgate-(.+)\.erasures$`)

func ledgerName(cluster string) string { return "perfgate-" + cluster + ".erasures" }

// KeepLedger writes the erasures of the state to the ledger in the folder of the backups.
// Those that are only in the file stay: another node with the same folder may know more.
func (b *Backups) KeepLedger() (err error) {
	if b.Erasures == nil {
		return nil
	}
	list, err := b.Erasures()
	if err != nil {
		return err
	}
	path := filepath.Join(b.Dir, ledgerName(b.Cluster()))
	l := ledger{}
	if err := l.readFile(path, seal.With{}); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the ledger of erasures %s: %w", path, err)
	}
	before := len(l.taken) + len(l.cancelled)
	for _, e := range list {
		l.add(e)
	}
	if before == len(l.taken)+len(l.cancelled) {
		return nil
	}
	f, err := os.CreateTemp(b.Dir, backupTemp+"erasures-*"+backupTempEnd) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(l.lines())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(b.Dir)
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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
// was taken later, which with opens.
func (l *ledger) readFile(name string, with seal.With) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(1)
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	case head[0] != '{':
		return l.readBackup(in, with)
	}
	// A cut line is not valid JSON, so a file that is longer than its bound is refused.
	d := jsontext.NewDecoder(io.LimitReader(in, maxLedger))
	for n := 1; ; n++ {
		var line ledgerLine
		switch err := json.UnmarshalDecode(d, &line); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("entry %d: %w", n, err)
		}
		e := &line.Erasure
		if line.Receipt != nil {
			e = &line.Receipt.Statement.Erasure
		} else if line.Statement != nil {
			e = &line.Statement.Erasure
		}
		if e.ID == "" || e.Account == "" {
			return fmt.Errorf("entry %d is no erasure: must be a ledger of erasures, a receipt, or a backup", n)
		}
		l.add(e)
	}
}

// ledgerLine is an entry of a ledger, or an answer with a receipt, or a receipt.
type ledgerLine struct {
	store.Erasure `json:",inline"`
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

// readBeside takes the ledgers in the folder of the backup file into account. A folder may
// be shared: of other clusters, among which those that were restored from this one,
// only erasures of accounts count that are in the backup and of no other cluster. The
// account default is in each.
func (l *ledger) readBeside(file, cluster string, holds func(store.AccountID) bool) error {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("look for a ledger of erasures beside the backup: %w", err)
	}
	for _, entry := range entries {
		m := ledgerForm.FindStringSubmatch(entry.Name())
		if m == nil || !entry.Type().IsRegular() {
			continue
		}
		var one ledger
		if err := one.readFile(filepath.Join(filepath.Dir(file), entry.Name()), seal.With{}); err != nil {
			return fmt.Errorf("the ledger of erasures %s beside the backup: %w; repair it, or move it away", entry.Name(), err)
		}
		for _, of := range []map[store.ErasureID]*store.Erasure{one.taken, one.cancelled} {
			for _, e := range of {
				if m[1] == cluster || e.Account != store.DefaultAccount && holds(e.Account) {
					l.add(e)
				}
			}
		}
	}
	return nil
}

// repeat finds what a restore of a backup with known erasures has to do again.
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

// erasedAgain is an erasure that a restore repeats.
type erasedAgain struct {
	ID         store.ErasureID `json:"id"`
	Account    store.AccountID `json:"account"`
	Everything bool            `json:"everything"`
	ErasedAt   time.Time       `json:"erased_at"` // the first time
}

// findErasures plans to repeat the erasures after the backup in file: those in the ledgers
// beside it, and in the given files.
func (p *restorePlan) findErasures(file string, given []string, with seal.With) error {
	l := p.erased
	for _, name := range given {
		if err := l.readFile(name, with); err != nil {
			return fmt.Errorf("erasures in %s: %w", name, err)
		}
	}
	if err := l.readBeside(file, p.report.Backup.ClusterID, p.known.Holds); err != nil {
		return err
	}
	then, erased := l.repeat(&p.known)
	p.then = then
	r := p.report
	for _, e := range erased {
		r.Erased = append(r.Erased, erasedAgain{e.ID, e.Account, e.Everything, e.ErasedAt})
		if e.Everything && p.known.Holds(e.Account) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the account %s was erased with everything after the backup (%s); it is erased again, with its keys and users", e.Account, e.ID))
		} else {
			r.Warnings = append(r.Warnings, fmt.Sprintf("data of the account %s was erased after the backup (%s); it is erased again", e.Account, e.ID))
		}
	}
	if len(erased) == 0 {
		r.Warnings = append(r.Warnings, "no erasure after the backup is known: no ledger beside it or given by --erasures FILE names one. ACCOUNTS THAT WERE ERASED AFTER THE BACKUP COME BACK")
	}
	if n := l.scheduled(&p.known); n > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d erasures were scheduled when the backup was taken and take place when their time has come; cancel those that must not", n))
	}
	return nil
}
