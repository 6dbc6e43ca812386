package ui

import (
	"net/http"
	"strconv"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// bulkView is a change of several keys: before it, how many there are, and after it, what
// became of them.
type bulkView struct {
	Do    string // revoke or disable
	Keys  []client.Key
	Found *client.RevokedKeys // of a revocation: by a dry run, or done
	Done  bool
	Late  []string // disabled keys that a node has not confirmed
}

// bulkKeys asks for a confirmation of a change of the chosen keys, or makes it.
func bulkKeys(v *visit) error {
	b := bulkView{Do: v.form("do")}
	ids := v.r.PostForm["ids"]
	switch {
	case b.Do != "revoke" && b.Do != "disable":
		return fault.Newf(fault.InvalidValue, "The form asks for nothing that can be done.")
	case len(ids) == 0:
		return fault.Invalid("ids", "tick the keys that are meant")
	case len(ids) > rowsOfKeys:
		return fault.Invalid("ids", "at most %d keys at once", rowsOfKeys)
	}
	for _, id := range ids {
		k, err := v.api.GetKey(v.context(), id)
		if err != nil {
			return err
		}
		b.Keys = append(b.Keys, *k)
	}
	if v.form("confirmed") == "" {
		return showBulk(v, b, nil)
	}
	if got := v.form("count"); got != strconv.Itoa(len(ids)) {
		return showBulk(v, b, fault.Invalid("count", "type the number of keys to confirm: %d", len(ids)))
	}
	var err error
	if b.Do == "revoke" {
		reason := v.form("reason")
		b.Found, err = v.api.RevokeKeys(v.context(), client.BulkRevocation{IDs: ids, Reason: &reason}, v.once())
	} else {
		err = disableAll(v, &b)
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return showBulk(v, b, f)
	}
	b.Done = true
	return showBulk(v, b, nil)
}

// disableAll disables the keys that are accepted, one after the other.
func disableAll(v *visit, b *bulkView) error {
	for i, k := range b.Keys {
		if k.State != "active" {
			continue
		}
		changed, err := v.api.UpdateKey(v.context(), k.ID, client.Patch{"state": "disabled"})
		if err != nil {
			return err
		}
		b.Keys[i] = *changed
		if changed.Revocation != nil && !changed.Revocation.Effective {
			b.Late = append(b.Late, k.ID)
		}
	}
	return nil
}

// showBulk shows the change. How many keys a revocation would end is found by a dry run.
func showBulk(v *visit, b bulkView, problem *fault.Error) error {
	if b.Do == "revoke" && !b.Done {
		found, err := v.api.RevokeKeys(v.context(), client.BulkRevocation{IDs: v.r.PostForm["ids"], DryRun: true})
		if err != nil {
			return err
		}
		b.Found = found
	}
	title := "Revoke keys"
	if b.Do == "disable" {
		title = "Disable keys"
	}
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	return v.render(status, "bulk", &page{Title: title, Body: b, Problem: problem})
}
