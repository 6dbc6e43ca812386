package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// secretBytes of randomness encode to a cluster secret of 43 characters.
const secretBytes = 32

func clusterCommand(a *app) *cobra.Command {
	return group("cluster", "Show and manage the cluster and its nodes",
		clusterStatus(a), clusterSecret(a), clusterTransfer(a), clusterRemove(a))
}

func clusterStatus(a *app) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use: "status", Short: "Show the state of the cluster and of each node", Args: cobra.NoArgs,
		Long: `Show the state of the cluster and of each node. The exit code is 0 if the cluster
is healthy, 2 if it is not, and 1 if the node cannot be asked.`,
		Example: "  perfgate cluster status --watch",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.watch(cmd.Context(), cmd, every, func() error { return a.clusterStatus(cmd.Context()) })
		},
	}
	watchFlag(cmd, &every)
	return cmd
}

// clusterStatus shows the state of the cluster once.
func (a *app) clusterStatus(ctx context.Context) error {
	raw, err := a.once(ctx, call{method: http.MethodGet, path: "/v1/cluster"})
	if err != nil {
		return err
	}
	v := new(client.Cluster)
	if err := decode(raw, v); err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(raw)
	} else {
		err = showCluster(a, v)
	}
	if err == nil && !v.Healthy {
		err = exitError(exitUnhealthy)
	}
	return err
}

func showCluster(a *app, v *client.Cluster) error {
	t := newTable(a.Stdout)
	t.row("cluster", v.ClusterID)
	t.row("leader", v.Leader)
	t.row("term", strconv.FormatUint(v.Term, 10))
	t.row("healthy", strconv.FormatBool(v.Healthy))
	t.row("failure tolerance", strconv.Itoa(v.FailureTolerance))
	for _, r := range v.Reasons {
		t.row("reason", r)
	}
	for _, w := range v.Warnings {
		t.row("warning", w)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout)
	t = newTable(a.Stdout, "NODE", "ROLE", "STATE", "APPLIED", "LAG", "LEASE", "LAST CONTACT", "VERSION", "REGION")
	newest := uint64(0)
	for _, n := range v.Nodes {
		newest = max(newest, n.AppliedIndex)
	}
	for _, n := range v.Nodes {
		lease, contact, lag := "", "never", ""
		if n.LeaseMS != nil {
			lease = strconv.FormatInt(*n.LeaseMS, 10) + " ms"
		}
		if n.LastContactMS >= 0 {
			contact = strconv.FormatInt(n.LastContactMS, 10) + " ms"
		}
		if newest > n.AppliedIndex {
			lag = strconv.FormatUint(newest-n.AppliedIndex, 10)
		}
		t.row(n.Name, n.Role, n.State, strconv.FormatUint(n.AppliedIndex, 10), lag, lease, contact, n.Version, n.Region)
	}
	return t.flush()
}

func clusterSecret(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "secret", Short: "Generate a secret for a new cluster", Args: cobra.NoArgs,
		Long: `Print a new random secret. Give it to every node, as PERFGATE_CLUSTER_SECRET or in the
file named by cluster.secret_file. Needs no server.`,
		Example: "  perfgate cluster secret > cluster.secret",
		RunE: func(*cobra.Command, []string) error {
			var b [secretBytes]byte
			rand.Read(b[:])
			_, err := fmt.Fprintln(a.Stdout, base64.RawURLEncoding.EncodeToString(b[:]))
			return err
		},
	}
}

func clusterTransfer(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "transfer [NODE]", Short: "Transfer leadership to another node", Args: cobra.MaximumNArgs(1),
		Example: "  perfgate cluster transfer\n  perfgate cluster transfer n2",
		Long: `Transfer leadership to NODE, or to the most suitable other node. A node that stops
transfers its leadership by itself. A node that does not answer is refused.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{}
			if len(args) == 1 {
				body["to"] = args[0]
			}
			return run(cmd.Context(), a, call{method: http.MethodPost, path: "/v1/cluster/transfer-leadership", query: forceQuery(force), body: body}, showCluster)
		},
	}
	forceFlag(cmd, &force, "the node does not answer")
	return cmd
}

func clusterRemove(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove NODE", Short: "Remove a node from the cluster", Args: cobra.ExactArgs(1),
		Example: "  perfgate cluster remove n3",
		Long: `Remove a node for good. When the command returns, the node serves no requests any
more, and the other nodes refuse its certificate. A removal that would leave no
majority in contact is refused.

The machine can join as a new node once its data directory is empty. It still
knows the cluster secret: change the secret of the other nodes if the machine may
be in the wrong hands.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: "/v1/cluster/nodes/" + url.PathEscape(args[0]), query: forceQuery(force)}, showDeleted)
		},
	}
	forceFlag(cmd, &force, "no majority of the nodes would be in contact")
	return cmd
}
