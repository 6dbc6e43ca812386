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
	for _, file := range []struct{ key, path string }{
		{"cluster.secret_file", c.Cluster.SecretFile}, {"proxy.tls.key_file", c.Proxy.TLS.KeyFile}, {"admin.tls.key_file", c.Admin.TLS.KeyFile},
	} {
		if mode, open := datadir.Exposed(file.path); file.path != "" && open {
			out = append(out, c.Fault(file.key, fmt.Sprintf("others than its owner have access to this file (mode %04o); chmod 600 it", mode)))
		}
	}
	return out
}
