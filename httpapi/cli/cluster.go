package cli

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// secretBytes of randomness make a cluster secret: 43 characters.
const secretBytes = 32

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "The cluster and its nodes", a.clusterStatus(), a.clusterSecret(), a.clusterTransfer(), a.clusterRemove())
}

func (a *app) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the nodes and how they are", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodGet, path: "/v1/cluster"}, a.showCluster)
		},
	}
}

func (a *app) showCluster(raw []byte) error {
	var v client.Cluster
	if err := decode(raw, &v); err != nil {
		return err
	}
	t := newTable(a.Stdout)
	t.row("cluster", v.ClusterID)
	t.row("leader", v.Leader)
	t.row("term", strconv.FormatUint(v.Term, 10))
	t.row("healthy", strconv.FormatBool(v.Healthy))
	for _, r := range v.Reasons {
		t.row("", r)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout)
	t = newTable(a.Stdout, "NODE", "ROLE", "STATE", "APPLIED", "LAG", "LEASE", "LAST CONTACT", "VERSION", "REGION")
	most := uint64(0)
	for _, n := range v.Nodes {
		most = max(most, n.AppliedIndex)
	}
	for _, n := range v.Nodes {
		lease, contact := "", "never"
		if n.LeaseMS != nil {
			lease = strconv.FormatInt(*n.LeaseMS, 10) + " ms"
		}
		if n.LastContactMS >= 0 {
			contact = strconv.FormatInt(n.LastContactMS, 10) + " ms"
		}
		lag := ""
		if most > n.AppliedIndex {
			lag = strconv.FormatUint(most-n.AppliedIndex, 10)
		}
		t.row(n.Name, n.Role, n.State, strconv.FormatUint(n.AppliedIndex, 10), lag, lease, contact, n.Version, n.Region)
	}
	return t.flush()
}

func (a *app) clusterSecret() *cobra.Command {
	return &cobra.Command{
		Use: "secret", Short: "Make a secret for a new cluster", Args: cobra.NoArgs,
		Long: "Prints a fresh random secret, to be given to every node as PERFGATE_CLUSTER_SECRET or in the file cluster.secret_file.",
		RunE: func(*cobra.Command, []string) error {
			var b [secretBytes]byte
			rand.Read(b[:])
			_, err := fmt.Fprintln(a.Stdout, base64.RawURLEncoding.EncodeToString(b[:]))
			return err
		},
	}
}

func (a *app) clusterTransfer() *cobra.Command {
	return &cobra.Command{
		Use: "transfer [NODE]", Short: "Let another node lead", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{}
			if len(args) == 1 {
				body["to"] = args[0]
			}
			return a.run(cmd.Context(), ask{method: http.MethodPost, path: "/v1/cluster/transfer-leadership", body: body}, a.showCluster)
		},
	}
}

func (a *app) clusterRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NODE", Short: "Remove a node from the cluster", Args: cobra.ExactArgs(1),
		Long: "Removes a node for good: its certificate is refused from then on, and it serves no more when this returns.\n" +
			"The machine comes back as a new node once its data directory is empty. It still knows the cluster secret:\n" +
			"give the others a new one if the machine may be in the wrong hands.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodDelete, path: "/v1/cluster/nodes/" + url.PathEscape(args[0])}, a.showDeleted)
		},
	}
}
