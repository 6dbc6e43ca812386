package ui

import (
	"net/http"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func keyringPage(v *visit) error { return showKeyring(v, nil) }

func showKeyring(v *visit, problem *fault.Error) error {
	k, err := v.api.Vault().Read(v.context())
	if err != nil {
		return err
	}
	p := &page{Title: "Encryption", Body: k, Problem: problem}
	status := http.StatusOK
	switch {
	case problem != nil:
		status = problem.Code.Status()
	case v.query("did") == "kek":
		p.Notice = "The data keys are wrapped with the new key."
	case v.query("did") == "data":
		p.Notice = "New files are encrypted with a new key, and the old ones are written again."
	}
	return v.render(status, "keyring", p)
}

// changeKeyring rotates one of the keys of the node that is asked.
func changeKeyring(v *visit) error {
	rotate, did := v.api.Vault().RotateKEK, "kek"
	if v.form("do") == "data" {
		rotate, did = v.api.Vault().RotateData, "data"
	}
	if _, err := rotate(v.context()); err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return showKeyring(v, f)
	}
	return v.see("/keyring?did=" + did)
}

// backupPage shows what is measured about backups, and the commands that make and prove one.
// No link sends a backup to the browser: it would lie unencrypted among the downloads.
func backupPage(v *visit) error {
	report, err := v.api.Compliance(v.context())
	if err != nil {
		return err
	}
	for _, c := range report.Data {
		if c.Control == "backups" {
			return v.show("backup", "Backup", c)
		}
	}
	return v.show("backup", "Backup", client.Control{State: "attention", Title: "Backups"})
}
