package ui

import (
	"context"
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

var overlaps = []preset{
	{"0s", "None: the old key ends now"}, {"15m", "15 minutes"}, {"1h", "1 hour"}, {"24h", "24 hours"}, {"7d", "7 days"},
	{"until_unused", "Until the old key was not used for 15 minutes, at most 30 days"},
}

// keyStep is a page that asks for one change of a key.
type keyStep struct {
	keyForm
	Overlaps []preset
	Hour     *lastHour // of a key that is to be revoked; nil where the role may not read it
	Unknown  bool      // its last hour could not be read in time
}

// showStep shows the page of a change, with the problem that a first try met.
func showStep(v *visit, name, title string, problem *fault.Error) error {
	k, err := v.api.GetKey(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if !v.me.mayChange(k) {
		return fault.Newf(fault.Forbidden, "Your role (%s) may not change this key, which was created by another.", v.me.RoleName())
	}
	b := keyStep{keyForm: keyForm{k, v.ui.scopeChoices(), expiries}, Overlaps: overlaps}
	if name == "revoke" {
		b.Hour, b.Unknown = lastHourOf(v, k.ID)
	}
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	return v.render(status, name, &page{Title: title, Problem: problem, Body: b})
}

// asked returns the fault that the page of a change shows, or the error that ends the
// visit.
func asked(err error) (*fault.Error, error) {
	f := fault.From(err)
	if f.Code.Status() < 500 && !signedOut(f) {
		return f, nil
	}
	return nil, err
}

func rotateKeyPage(v *visit) error { return showStep(v, "rotate", "Rotate the key", nil) }

// rotateKey makes the new key and shows its secret.
func rotateKey(v *visit) error {
	id := v.r.PathValue("id")
	k, err := v.api.RotateKey(v.context(), id, v.form("overlap"), v.once())
	if err != nil {
		if f, err := asked(err); f == nil {
			return err
		} else {
			return showStep(v, "rotate", "Rotate the key", f)
		}
	}
	return showSecret(v, k, id)
}

func revokeKeyPage(v *visit) error { return showStep(v, "revoke", "Revoke the key", nil) }

// revokeKey revokes the key and shows which nodes have confirmed it. For a live key, its
// name must have been typed.
func revokeKey(v *visit) error {
	id := v.r.PathValue("id")
	k, err := v.api.GetKey(v.context(), id)
	if err != nil {
		return err
	}
	if k.Type == "live" && v.form("confirm") != k.Name {
		return showStep(v, "revoke", "Revoke the key", fault.Invalid("confirm", "type the name of the key to confirm"))
	}
	revoke := v.api.RevokeKey
	if v.form("chain") != "" {
		revoke = v.api.RevokeChain
	}
	return confirmRevocation(v, k, func(ctx context.Context) (*client.Key, error) {
		return revoke(ctx, id, v.form("reason"), v.once())
	})
}

// setKeyState disables or enables the key.
func setKeyState(v *visit) error {
	id := v.r.PathValue("id")
	if _, err := v.api.UpdateKey(v.context(), id, client.Patch{"state": v.form("state")}); err != nil {
		return err
	}
	return v.see("/keys/" + url.PathEscape(id))
}

func editKeyPage(v *visit) error { return showStep(v, "editkey", "Change the key", nil) }

// editKey changes the key's settings.
func editKey(v *visit) error {
	id := v.r.PathValue("id")
	p, err := v.entered().keyPatch()
	if err == nil {
		_, err = v.api.UpdateKey(v.context(), id, p)
	}
	if err != nil {
		if f, err := asked(err); f == nil {
			return err
		} else {
			return showStep(v, "editkey", "Change the key", f)
		}
	}
	return v.see("/keys/" + url.PathEscape(id))
}
