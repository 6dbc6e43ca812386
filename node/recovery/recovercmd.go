package recovery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/mattn/go-isatty"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// RecoverFlags are the flags of recover.
func RecoverFlags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("recover", pflag.ContinueOnError)
	fs.String("data-dir", "", "data directory of the stopped node that is left (PERFGATE_DATA_DIR; default ./perfgate-data)")
	fs.String("backup-dir", "", "`DIR` of the scheduled backups, whose ledgers of erasures are read ("+backupDirEnv+")")
	fs.StringArray("erasures", nil, "`FILE` that tells of erasures: a ledger, a receipt or a backup; can be repeated")
	fs.Bool("yes", false, "do not ask")
	fs.Bool("force", false, "recover even if a majority of the old cluster's voters is there, this node included")
	fs.Bool("json", false, "print the report as JSON")
	return fs
}

// recoverReport is the result of a recovery.
type recoverReport struct {
	DataDir   string        `json:"data_dir"`
	NodeID    string        `json:"node_id"`
	Recovered bool          `json:"recovered"` // false: the node was the only voter already
	From      string        `json:"from,omitzero"`
	ClusterID string        `json:"cluster_id,omitzero"` // the new one
	Erased    []erasedAgain `json:"erased,omitzero"`     // that the copy does not know
	recoverable
}

// RecoverCommand is "perfgate recover": the way out when the majority of a
// cluster is lost for good.
func RecoverCommand(c Console, fs *pflag.FlagSet, args []string) (err error) {
	if len(args) > 0 {
		return &config.UsageError{Source: fmt.Sprintf("argument %q", args[0]), Reason: "only flags are accepted"}
	}
	cfg := config.ForDataDir(fs, c.Env)
	dir := cfg.Node.DataDir
	if _, err := os.Stat(dir); err != nil {
		return cfg.Fault("node.data_dir", "open the data directory: "+datadir.Reason(err).Error())
	}
	lock, err := datadir.Open(dir)
	if err != nil {
		return cfg.Fault("node.data_dir", err.Error())
	}
	defer lock.Release()
	r, err := openEncrypted(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()

	report := &recoverReport{DataDir: dir, NodeID: r.id, recoverable: r.found}
	asJSON, _ := fs.GetBool("json")
	if r.found.alone {
		c.say("this node is already the only voter, so there is nothing to recover; start it")
		if asJSON {
			return printJSON(c.Out, report)
		}
		return nil
	}
	if force, _ := fs.GetBool("force"); !force {
		if err := r.refuseWhileRunning(c); err != nil {
			return fmt.Errorf("recover from %s: %w; nothing was changed", dir, err)
		}
	}
	if err := r.erases.read(fs, c.Env); err != nil {
		return fmt.Errorf("recover from %s: %w; nothing was changed", dir, err)
	}
	r.explain(c)
	r.erases.explain(c)
	if yes, _ := fs.GetBool("yes"); !yes {
		if err := c.confirm(); err != nil {
			return err
		}
	}
	report.ClusterID = ids.New("cl_")
	report.From, err = r.run(store.ClusterReset{ClusterID: report.ClusterID, Kind: store.ResetRecover, Reason: r.reason()}, time.Now().UTC())
	if err != nil {
		return fmt.Errorf("recover from %s: %w; nothing was changed", dir, err)
	}
	report.Recovered, report.Erased = true, r.erases.tell(c)
	if asJSON {
		return printJSON(c.Out, report)
	}
	_, err = fmt.Fprintf(c.Out, "recovered  %s\ncluster    %s (was %s)\n\nStart it with: perfgate serve --data-dir %s\n"+
		"Empty the data directories of all other nodes of %s before they are started again; they join as new ones.\n",
		dir, report.ClusterID, report.From, dir, report.From)
	return err
}

// openEncrypted opens the copy in the locked data directory of c.
func openEncrypted(c *config.Config) (*recovery, error) {
	dir := c.Node.DataDir
	if _, err := os.Stat(filepath.Join(dir, datadir.NodeIDFile)); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("recover from %s: there is no node's data in it", dir) // before a keyring is made
	}
	files, err := openFiles(c)
	if err != nil {
		return nil, err
	}
	r, err := openRecovery(vfs.Default, files, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("recover from %s: %w", dir, err)
	}
	return r, nil
}

// refuseWhileRunning asks the other voters whether they run. With this node they may
// have the majority that a recovery is there to replace.
func (r *recovery) refuseWhileRunning(c Console) error {
	old, err := r.old()
	if err != nil {
		return err
	}
	if len(old.cas) == 0 {
		c.say("the other nodes were not asked whether they run, because this node has no certificate of their cluster")
		return nil
	}
	there, majority := old.running(context.Background())
	switch {
	case majority:
		return fmt.Errorf("the majority of the cluster %s is not lost: %s still run, and with this node they are %d of %d voters. Start this node with its cluster settings, or use --force",
			old.id, names(there), len(there)+old.here, len(r.found.Voters))
	case len(there) > 0:
		c.say("STILL RUNNING: %s. Stop them and empty their data directories before this node is started", names(there))
	}
	return nil
}

// reach says how far this node's copy goes.
func (r *recovery) reach() string {
	s := fmt.Sprintf("index %d", r.found.LastIndex)
	if !r.found.Newest.IsZero() {
		s += ", the newest change in its log of " + r.found.Newest.Format(time.RFC3339)
	}
	return s
}

// reason is the sentence in the audit event.
func (r *recovery) reason() string {
	return fmt.Sprintf("recovered from node %s alone, of %d voters, as far as its log reaches: %s. Writes that only the other nodes had are lost, revocations among them.",
		r.id, len(r.found.Voters), r.reach())
}

func (r *recovery) explain(c Console) {
	c.say("node %s in %s; voters of its cluster: %s", r.id, r.dir, strings.Join(r.found.Voters, ", "))
	if !slices.Contains(r.found.Voters, r.id) {
		c.say("THIS NODE WAS NOT A VOTER and may lack writes: if a voter is left, recover from the voter")
	}
	c.say("its copy ends at %s. Compare this on all nodes that are left, and recover from the node with the highest index", r.reach())
	c.say("this node becomes the only voter of a new cluster. ACKNOWLEDGED WRITES THAT ARE NOT ON THIS NODE ARE LOST: created keys are gone, and revoked keys work again")
	c.say("continue only if the majority of the old cluster is lost permanently. Do not start the other nodes with their data again: empty their directories")
}

// confirm asks a person at a terminal.
func (c *Console) confirm() error {
	in, ok := c.In.(*os.File)
	if !ok || !isatty.IsTerminal(in.Fd()) {
		return &config.UsageError{Source: "recover", Reason: "cannot ask for confirmation because stdin is not a terminal; add --yes to continue"}
	}
	fmt.Fprint(c.Err, "Continue? [y/N] ")
	line, _ := bufio.NewReader(in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
