package recovery

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

// backupDirEnv is the setting backup.dir in the environment.
const backupDirEnv = "PERFGATE_BACKUP_DIR"

// repeating are the erasures that a recovery repeats: the copy of the node may lack the newest.
type repeating struct {
	known  ledger // from files that the operator named
	given  []string
	named  []givenLedger
	dir    string // of ledgers; "" is none
	most   int    // erasures in all files
	erased []*store.Erasure
	doubts []string
	then   []*store.Command // after the reset
}

// read reads all files that the flags name. What counts is known once the state is there; see
// plan.
func (x *repeating) read(fs *pflag.FlagSet, env config.Getenv) error {
	with, err := openerOf(fs, env)
	if err != nil {
		return err
	}
	x.given, _ = fs.GetStringArray("erasures")
	if x.dir, _ = fs.GetString("backup-dir"); x.dir == "" {
		x.dir, _ = env(backupDirEnv)
	}
	if x.named, err = x.known.readGiven(x.given, with); err != nil {
		return err
	}
	x.most = len(x.known.taken) + len(x.known.cancelled)
	if x.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return fmt.Errorf("look for ledgers of erasures: %w", err)
	}
	for _, entry := range entries {
		if !ledgerForm.MatchString(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		var one ledger
		if _, err := one.readFile(filepath.Join(x.dir, entry.Name()), seal.With{}); err != nil {
			return fmt.Errorf("the ledger of erasures %s: %w; repair it, or move it away", filepath.Join(x.dir, entry.Name()), err)
		}
		x.most += len(one.taken) + len(one.cancelled)
	}
	return nil
}

// plan finds what the rebuilt state does not know.
func (x *repeating) plan(state *store.Store) error {
	known, err := state.Erasures().Known()
	if err != nil {
		return err
	}
	trusted := state.AuditKeys()
	if x.dir != "" {
		if err := x.known.readBeside(x.dir, x.given, state.ClusterID(), trusted, known.Holds); err != nil {
			return err
		}
	}
	x.doubts = doubts(x.named, trusted)
	x.then, x.erased = x.known.repeat(known)
	if len(x.then) > x.most {
		return fmt.Errorf("the ledgers of erasures in %s changed meanwhile; try again", x.dir)
	}
	return nil
}

// reason goes on with the sentence in the audit event.
func (x *repeating) reason() string {
	if len(x.erased) == 0 {
		return ""
	}
	return fmt.Sprintf(" %d erasures that the copy does not know were repeated.", len(x.erased))
}

// explain says where erasures were looked for, before anything changes.
func (x *repeating) explain(c Console) {
	if x.dir == "" && len(x.given) == 0 {
		c.say("no ledger of erasures was given (--backup-dir DIR or --erasures FILE). DATA THAT WAS ERASED AFTER THE END OF THIS COPY COMES BACK")
	}
}

// tell says what was repeated.
func (x *repeating) tell(c Console) (list []erasedAgain) {
	list = []erasedAgain{}
	for _, d := range x.doubts {
		c.say("%s", d)
	}
	for _, e := range x.erased {
		c.say("data of the account %s was erased after the end of this copy (%s); it is erased again", e.Account, e.ID)
		list = append(list, again(e))
	}
	return list
}
