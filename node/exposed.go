package node

import (
	"fmt"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
)

// exposed warns about the data directory and the files with secrets of c to which others
// than their owner have access. They are no faults: volumes and secrets are often mounted
// so, and a node that served before must start again.
func exposed(c *config.Config) (out []error) {
	dir := c.Node.DataDir
	if mode, open := datadir.Exposed(dir); open {
		out = append(out, c.Fault("node.data_dir", fmt.Sprintf("others than its owner have access (mode %04o); a start takes it away if the directory is its own; else chmod 700 it", mode)))
	}
	for _, name := range datadir.ExposedSecrets(dir) {
		out = append(out, c.Fault("node.data_dir", fmt.Sprintf("others than its owner have access to %s in it; chmod 600 that file", name)))
	}
	type secret struct{ key, place, path string }
	files := []secret{
		{"cluster.secret_file", "cluster.secret_file", c.Cluster.SecretFile},
		{"signin.oidc.client_secret_file", "signin.oidc.client_secret_file", c.SignIn.OIDC.ClientSecretFile},
		{"proxy.tls.key_file", "proxy.tls.key_file", c.Proxy.TLS.KeyFile}, {"admin.tls.key_file", "admin.tls.key_file", c.Admin.TLS.KeyFile},
	}
	for i, r := range c.Proxy.Routes {
		files = append(files, secret{"proxy.routes", fmt.Sprintf("proxy.routes[%d].upstream_tls.key_file", i), r.UpstreamTLS.KeyFile})
	}
	for _, file := range files {
		if mode, open := datadir.Exposed(file.path); file.path != "" && open {
			out = append(out, c.FaultAt(file.key, file.place, file.path, fmt.Sprintf("others than its owner have access to this file (mode %04o); chmod 600 it", mode)))
		}
	}
	return out
}
