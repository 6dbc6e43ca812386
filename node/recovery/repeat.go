package recovery

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

// erasedAgain is an erasure that a restore or a recovery repeats.
type erasedAgain struct {
	ID         store.ErasureID `json:"id"`
	Account    store.AccountID `json:"account"`
	Everything bool            `json:"everything"`
	ErasedAt   time.Time       `json:"erased_at"` // the first time
}

func again(e *store.Erasure) erasedAgain {
	return erasedAgain{e.ID, e.Account, e.Everything, e.ErasedAt}
}

// findErasures plans to repeat the erasures after the backup in file: those in the ledgers
// beside it, and in the given files.
func (p *restorePlan) findErasures(file string, given []string, with seal.With) error {
	l := p.erased
	named, err := l.readGiven(given, with)
	if err != nil {
		return err
	}
	if err := l.readBeside(filepath.Dir(file), given, p.report.Backup.ClusterID, p.roster.AuditKeys, p.known.Holds); err != nil {
		return err
	}
	then, erased := l.repeat(&p.known)
	p.then = then
	r := p.report
	r.Warnings = append(r.Warnings, doubts(named, p.roster.AuditKeys)...)
	for _, e := range erased {
		r.Erased = append(r.Erased, again(e))
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
