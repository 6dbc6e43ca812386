package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store/seal"
)

// backup checks the schedule of backups, and that they can be encrypted: a mistake would
// otherwise show when the first one is written.
func (v validator) backup() {
	b := &v.Backup
	v.check("backup.dir", !strings.ContainsRune(b.Dir, 0), "must be the path of a directory")
	v.between("backup.every", b.Every, time.Minute, 366*24*time.Hour)
	v.check("backup.keep", b.Keep >= 1 && b.Keep <= 10000, "must be a number of backups from 1 to 10000")
	const key = "backup.recipients"
	if len(b.Recipients) == 0 {
		return
	}
	for i, text := range b.Recipients {
		if _, err := seal.ParseRecipient(text); err != nil {
			var shown any = text
			if !strings.HasPrefix(text, "age1") {
				shown = nil // it may be a private key
			}
			v.l.fault(v.source.of[key], fmt.Sprintf("%s[%d]", key, i), shown, err.Error())
		}
	}
	v.check(key, b.Dir != "", "backup.dir must be set too: these are the recipients of scheduled backups")
	v.check(key, b.Passphrase == "", PassphraseEnv+" is set too, and a backup is encrypted either with a passphrase or for recipients; remove one of them")
	if err := (seal.To{Recipients: b.Recipients}).Check(); err != nil {
		v.bad(key, err.Error())
	}
}
