package cli

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// secretBytes of randomness make a cluster secret: 43 characters.
const secretBytes = 32

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "The cluster and its nodes", a.clusterStatus(), a.clusterSecret())
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
	t = newTable(a.Stdout, "NODE", "ROLE", "STATE", "APPLIED", "LEASE", "LAST CONTACT", "VERSION", "REGION")
	for _, n := range v.Nodes {
		lease := ""
		if n.LeaseMS != nil {
			lease = strconv.FormatInt(*n.LeaseMS, 10) + " ms"
		}
		t.row(n.Name, n.Role, n.State, strconv.FormatUint(n.AppliedIndex, 10), lease, strconv.FormatInt(n.LastContactMS, 10)+" ms", n.Version, n.Region)
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
