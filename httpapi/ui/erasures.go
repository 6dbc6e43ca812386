package ui

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// erasuresView are the erasures of the account, and the form for another one.
type erasuresView struct {
	Account  string
	Erasures []client.Erasure
	Open     bool // one is scheduled or runs: there can be no other
	Now      bool // without the notice, for operators
	All      bool // with keys, users and the account: never the account default
}

func erasures(v *visit) client.Erasures { return client.Erasures{Client: v.api} }

func erasuresPage(v *visit) error { return showErasures(v, nil) }

func showErasures(v *visit, problem *fault.Error) error {
	list, err := erasures(v).List(v.context(), client.Page{Limit: 100})
	if err != nil {
		return err
	}
	b := erasuresView{Account: v.account, Erasures: list.Data, Now: v.me.Operator(), All: v.account != defaultAccount}
	for _, e := range list.Data {
		b.Open = b.Open || e.State == "scheduled" || e.State == "running"
	}
	return v.ask("erasures", "Erasure", b, problem)
}

// newErasure schedules an erasure.
func newErasure(v *visit) error {
	in := client.NewErasure{Confirm: v.form("confirm"), Everything: v.form("everything") != "", Now: v.form("now") != ""}
	e, err := erasures(v).Create(v.context(), in)
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return showErasures(v, f)
	}
	return v.see("/account/erasures/" + url.PathEscape(e.ID))
}

// erasureView is one erasure with its receipt.
type erasureView struct {
	*client.Erasure
	Proof string // the receipt as text
}

func hasReceipt(e *client.Erasure) bool { return len(e.Receipt) > 0 && string(e.Receipt) != "null" }

func erasurePage(v *visit) error {
	e, err := erasures(v).Get(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	b := erasureView{Erasure: e}
	if hasReceipt(e) {
		var out bytes.Buffer
		if err := json.Indent(&out, e.Receipt, "", "  "); err != nil {
			return err
		}
		b.Proof = out.String()
	}
	return v.show("erasure", "Erasure", b)
}

// erasureReceipt sends the signed receipt as a file, as perfgate erasures verify reads it.
func erasureReceipt(v *visit) error {
	id := v.r.PathValue("id")
	e, err := erasures(v).Get(v.context(), id)
	if err != nil {
		return err
	}
	if !hasReceipt(e) {
		return fault.Newf(fault.NotFound, "The erasure has no receipt before it is done on all nodes.")
	}
	v.w.Header().Set("Content-Type", "application/json")
	v.w.Header().Set("Content-Disposition", `attachment; filename="erasure-receipt.json"`)
	v.w.WriteHeader(http.StatusOK)
	_, _ = v.w.Write(append(e.Receipt, '\n')) // a client that has gone needs no answer
	return nil
}

// cancelErasure ends an erasure before its time.
func cancelErasure(v *visit) error {
	id := v.r.PathValue("id")
	if _, err := erasures(v).Cancel(v.context(), id); err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return showErasures(v, f)
	}
	return v.see("/account/erasures/" + url.PathEscape(id))
}

// exportData sends everything that is stored about the account.
func exportData(v *visit) error {
	return v.stream("/v1/account/data", nil, "", "account-data.ndjson")
}
