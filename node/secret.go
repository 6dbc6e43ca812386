package node

import (
	"bytes"
	"fmt"
)

// ClusterSecret is the secret that nodes prove to each other before one lets the
// other in: PERFGATE_CLUSTER_SECRET, or what cluster.secret_file holds, without
// the white space around it. An error is a [*UsageError].
func (c *Config) ClusterSecret() ([]byte, error) {
	if len(c.Cluster.Secret) > 0 || c.Cluster.SecretFile == "" {
		return c.Cluster.Secret, nil
	}
	raw, err := readSmall(c.Cluster.SecretFile, maxClusterSecret+2)
	if err != nil {
		return nil, c.fault("cluster.secret_file", "read the cluster secret: "+reason(err))
	}
	secret := bytes.TrimSpace(raw)
	if len(secret) < minClusterSecret || len(secret) > maxClusterSecret {
		return nil, c.fault("cluster.secret_file", fmt.Sprintf(
			"want a secret of %d to %d bytes, not %d; \"perfgate cluster secret\" makes one", minClusterSecret, maxClusterSecret, len(secret)))
	}
	return secret, nil
}
