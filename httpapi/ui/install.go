package ui

import (
	"net/http"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// clusterView is the cluster, and the change that was refused because it would leave no
// majority.
type clusterView struct {
	*client.Cluster
	Ask struct{ Do, Node string } // again with force
}

func clusterPage(v *visit) error { return showCluster(v, nil) }

func showCluster(v *visit, problem *fault.Error) error {
	c, err := v.api.Cluster(v.context())
	if err != nil {
		return err
	}
	b := clusterView{Cluster: c}
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
		if problem.Code == fault.WouldLoseQuorum {
			b.Ask.Do, b.Ask.Node = v.form("do"), v.form("node")
		}
	}
	return v.render(status, "cluster", &page{Title: "Cluster", Body: b, Problem: problem})
}

// changeCluster transfers leadership or removes a node.
func changeCluster(v *visit) error {
	var opts []client.Option
	if v.form("force") != "" {
		opts = append(opts, client.Force())
	}
	var err error
	switch node := v.form("node"); v.form("do") {
	case "transfer":
		_, err = v.api.TransferLeadership(v.context(), node, opts...)
	case "remove":
		if v.form("confirm") != node {
			return showCluster(v, fault.Invalid("confirm", "type the name of the node to confirm"))
		}
		_, err = v.api.RemoveNode(v.context(), node, opts...)
	default:
		return fault.Newf(fault.InvalidValue, "The form asks for nothing that can be done.")
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return showCluster(v, f)
	}
	return v.see("/cluster")
}

// accountList is a page of the accounts.
type accountList struct {
	Accounts []client.Account
	Next     string
}

func accountsPage(v *visit) error {
	list, err := v.api.Accounts().List(v.context(), client.Page{Limit: 50, Cursor: v.query("cursor")})
	if err != nil {
		return err
	}
	return v.show("accounts", "Accounts", accountList{list.Data, text(list.Next)})
}

func tiersPage(v *visit) error {
	list, err := v.api.Tiers().List(v.context(), client.Page{Limit: 1000})
	if err != nil {
		return err
	}
	return v.show("tiers", "Tiers", list.Data)
}
