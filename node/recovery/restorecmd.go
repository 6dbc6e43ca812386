package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/custody"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/ids"
	"github.com/perfgate/perfgate/store/seal"
)

// Console is the process of a command that is no server.
type Console struct {
	In  io.Reader
	Out io.Writer // the report
	Err io.Writer // messages for a person
	Env config.Getenv
}

// say writes a paragraph to a person.
func (c *Console) say(format string, args ...any) {
	fmt.Fprintf(c.Err, "perfgate: "+format+"\n", args...)
}

// VerifyBackup reads a backup to its end; see [backup.Verify].
func VerifyBackup(r io.Reader, with seal.With) (fmt.Stringer, error) {
	return backup.Verify(r, with)
}

// RestoreFlags are the flags of restore.
func RestoreFlags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("restore", pflag.ContinueOnError)
	fs.String("data-dir", "", "empty or missing directory to restore into (PERFGATE_DATA_DIR; default ./perfgate-data)")
	fs.StringArray("audit", nil, "audit `FILE` (JSON or NDJSON) exported after the backup; revokes the keys that it shows as revoked; can be repeated")
	fs.StringArray("erasures", nil, "`FILE` that tells of erasures after the backup: a ledger, a receipt or a later backup; can be repeated; ledgers beside the backup are always read")
	fs.Bool("force", false, "restore even if the cluster of the backup still runs")
	fs.Bool("count-unknown", false, "set the usage of this month to the most that could have been used since the backup")
	fs.String("passphrase-file", "", "file with the passphrase of an encrypted backup (or "+config.PassphraseEnv+")")
	fs.String("identity", "", "`FILE` with the private part of a recovery key (AGE-SECRET-KEY-…) of an encrypted backup")
	fs.Bool("json", false, "print the report as JSON")
	return fs
}

// restoreReport is the result of a restore, with the changes that it undid.
type restoreReport struct {
	DataDir   string         `json:"data_dir"`
	ClusterID string         `json:"cluster_id"` // the new one
	NodeID    string         `json:"node_id"`
	Restored  time.Time      `json:"restored_at"`
	Backup    *backup.Report `json:"backup"`
	Revoked   []store.KeyID  `json:"revoked"`            // by --audit
	Undone    []lostChange   `json:"undone"`             // changes since that the restore undid, 1,000 at most
	UndoneN   int            `json:"undone_total"`       // all of them
	Audited   bool           `json:"audit_given"`        // without it, nothing is known about the time since
	Erased    []erasedAgain  `json:"erased"`             // by the ledgers of erasures
	Months    string         `json:"months"`             // as_in_backup or upper_bound
	Raised    int            `json:"months_raised"`      // buckets of this month that count more than the backup says
	Warnings  []string       `json:"warnings,omitempty"` // all that was said on stderr
}

// RestoreCommand is "perfgate restore FILE": it reads all of the backup first and
// changes nothing if a byte of it is wrong.
func RestoreCommand(c Console, fs *pflag.FlagSet, args []string) error {
	if len(args) != 1 {
		return &config.UsageError{Source: "restore", Reason: "must name one FILE to restore; see restore --help"}
	}
	file, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	defer file.Close()
	with, err := openerOf(fs, c.Env)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	plan, err := planOf(fs, file, with, now)
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was changed", args[0], err)
	}
	if force, _ := fs.GetBool("force"); !force {
		if err := plan.refuseWhileRunning(); err != nil {
			return fmt.Errorf("%s: %w; nothing was changed", args[0], err)
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the backup again: %w", err)
	}

	cfg := config.ForDataDir(fs, c.Env)
	lock, err := datadir.Acquire(cfg.Node.DataDir)
	if err != nil {
		return cfg.Fault("node.data_dir", err.Error())
	}
	defer lock.Release()
	if err := checkVacant(cfg); err != nil {
		return err
	}
	files, err := beginFiles(cfg)
	if err != nil {
		return err
	}
	r := plan.report
	r.DataDir, r.ClusterID, r.Restored = cfg.Node.DataDir, ids.New("cl_"), now
	re := &restoration{
		FS: vfs.Default, Files: files, Dir: cfg.Node.DataDir, Logger: slog.New(slog.DiscardHandler), At: now,
		Rows: rowsOf(file, with, plan.unseen), Applied: r.Backup.Applied, Revoke: plan.revoke, Then: plan.then,
		Reset: store.ClusterReset{ClusterID: r.ClusterID, Kind: store.ResetRestore, From: r.Backup.ClusterID, Reason: plan.reason()},
	}
	id, err := re.run()
	if err != nil {
		return fmt.Errorf("restore into %s: %w; no node starts from it until a restore has succeeded", r.DataDir, err)
	}
	r.NodeID = id.ID
	if plan.unseen != nil {
		r.Raised = plan.unseen.Raised
	}
	return plan.print(c, fs)
}

// planOf reads everything that the flags name.
func planOf(fs *pflag.FlagSet, file *os.File, with seal.With, now time.Time) (*restorePlan, error) {
	exports, _ := fs.GetStringArray("audit")
	count, _ := fs.GetBool("count-unknown")
	plan, err := planRestore(file, with, exports, count, now)
	if err != nil {
		return nil, err
	}
	ledgers, _ := fs.GetStringArray("erasures")
	return plan, plan.findErasures(file.Name(), ledgers, with)
}

// restorePlan is the result of reading a backup and the audit exports once.
type restorePlan struct {
	report *restoreReport
	revoke map[store.AccountID][]store.KeyID
	ended  int           // active ones among revoke
	unseen *store.Unseen // nil keeps the backup's counts
	roster store.Roster
	known  store.ErasuresOf // of the backup
	erased ledger           // after it, from the audit exports
	then   []*store.Command
}

// refuseWhileRunning asks the nodes of the backup's cluster whether they run.
func (p *restorePlan) refuseWhileRunning() error {
	old := &oldCluster{id: p.roster.ClusterID, nonvoters: map[string]bool{}}
	if p.roster.CA != nil {
		old.cas = [][]byte{p.roster.CA}
	}
	for _, m := range p.roster.Members {
		old.peers = append(old.peers, oldPeer{m.ID, m.Name, m.Address})
		// A backup of an earlier version does not say who votes: all count then.
		if voters := p.report.Backup.Voters; voters != nil {
			old.nonvoters[m.ID] = !slices.Contains(voters, m.ID)
		}
	}
	there, majority := old.running(context.Background())
	switch {
	case majority:
		return fmt.Errorf("the cluster %s of the backup still runs: %s. A restored node begins another cluster, and both would admit the same keys and count for themselves. Stop those nodes first, or use --force",
			old.id, names(there))
	case len(there) > 0:
		p.report.Warnings = append(p.report.Warnings, fmt.Sprintf("%s of the old cluster still run; stop them and empty their data directories", names(there)))
	}
	return nil
}

func planRestore(src io.Reader, with seal.With, exports []string, count bool, now time.Time) (*restorePlan, error) {
	b, err := backup.NewReader(src, with)
	if err != nil {
		return nil, err
	}
	p := &restorePlan{revoke: map[store.AccountID][]store.KeyID{}}
	p.report = &restoreReport{Months: "as_in_backup", Audited: len(exports) > 0, Revoked: []store.KeyID{}, Undone: []lostChange{}, Erased: []erasedAgain{}}
	var lost lostTime
	for _, name := range exports {
		f, err := os.Open(name)
		if err == nil {
			err = errors.Join(lost.read(f, b.Header.CreatedAt, now), f.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("audit export %s: %w", name, err)
		}
	}
	if count {
		p.unseen = &store.Unseen{From: b.Header.CreatedAt, To: now}
		p.report.Months = "upper_bound"
	}
	p.report.Backup, err = b.Visit(now, func(row, value []byte, k *store.Key) error {
		if k != nil && lost.revoked[k.ID] && k.State(now) != store.Revoked {
			p.revoke[k.Account] = append(p.revoke[k.Account], k.ID)
			p.report.Revoked = append(p.report.Revoked, k.ID)
			if s := k.State(now); s == store.Active || s == store.Rotating {
				p.ended++
			}
		}
		if err := errors.Join(p.roster.Add(row, value), p.known.Add(row, value)); err != nil {
			return err
		}
		if p.unseen != nil {
			return p.unseen.Add(row, value, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.unseen != nil {
		p.unseen.Settle()
	}
	p.erased = lost.erased
	if lost.others != nil {
		p.report.Undone, p.report.UndoneN = lost.others, lost.total
	}
	p.warn(now)
	return p, nil
}

// The bounds of the files with secrets, in bytes. Of a passphrase file the first line counts.
const (
	maxPassphraseFile = 4 << 10
	maxIdentityFile   = 64 << 10
)

// openerOf is what opens encrypted backups: what the flags name, and the environment.
func openerOf(fs *pflag.FlagSet, env config.Getenv) (with seal.With, err error) {
	if with.Passphrase, err = passphraseOf(fs, env); err != nil {
		return with, err
	}
	name, _ := fs.GetString("identity")
	if name == "" {
		return with, nil
	}
	raw, err := datadir.ReadFile(name, maxIdentityFile)
	if err == nil {
		with.Identities, err = seal.ParseIdentities(raw)
	}
	if err != nil {
		return with, fmt.Errorf("read the identity %s: %w", name, err)
	}
	return with, nil
}

// passphraseOf is the passphrase of a backup; "" if none is given.
func passphraseOf(fs *pflag.FlagSet, env config.Getenv) (string, error) {
	name, _ := fs.GetString("passphrase-file")
	if name == "" {
		v, _ := env(config.PassphraseEnv)
		return v, nil
	}
	raw, err := datadir.ReadFile(name, maxPassphraseFile)
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// checkVacant refuses a locked directory that holds anything which a restore
// would have to replace. The remains of an interrupted restore are no such thing.
func checkVacant(c *config.Config) error {
	name, err := datadir.Occupant(c.Node.DataDir)
	if err != nil {
		return err
	}
	if name != "" {
		return c.Fault("node.data_dir", fmt.Sprintf("the directory is not empty (%s is in it), and a restore replaces nothing: name an empty directory, or move this one away first", name))
	}
	return nil
}

// beginFiles is openFiles in a vacant directory. The marker of a restore comes before the
// keyring: a crash leaves a directory in which the next restore begins again. A key that
// cannot be used leaves nothing.
func beginFiles(c *config.Config) (vfs.FS, error) {
	marker := filepath.Join(c.Node.DataDir, datadir.RestoringFile)
	_, before := os.Stat(marker)
	if err := markRestoring(vfs.Default, c.Node.DataDir); err != nil {
		return nil, fmt.Errorf("restore into %s: %w", c.Node.DataDir, err)
	}
	files, err := openFiles(c)
	if err != nil && before != nil {
		return nil, errors.Join(err, os.Remove(marker))
	}
	return files, err
}

// openFiles opens the encrypted files of a locked data directory, with the key that the
// environment names.
func openFiles(c *config.Config) (vfs.FS, error) {
	v, err := custody.Open(context.Background(), vfs.Default, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := v.Convert(context.Background()); err != nil {
		return nil, err
	}
	return v.Attach(vfs.Default), nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
