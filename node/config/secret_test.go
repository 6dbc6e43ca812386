package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

func TestSecrets(t *testing.T) {
	secret := strings.Repeat("s", minClusterSecret)
	c := mustLoad(t, nil, "PERFGATE_CLUSTER_SECRET= "+secret+"\n", "PERFGATE_OPERATOR_TOKEN=op_0123456789abcdef", "PERFGATE_BACKUP_PASSPHRASE= pass phrase ")
	if string(c.Cluster.Secret) != secret || c.OperatorToken() != "op_0123456789abcdef" || c.Backup.Passphrase != " pass phrase " {
		t.Errorf("secret %q, token %q, passphrase %q", c.Cluster.Secret, c.OperatorToken(), c.Backup.Passphrase)
	}
	c = mustLoad(t, nil, "PERFGATE_CLUSTER_SECRET= ", "PERFGATE_OPERATOR_TOKEN=")
	if len(c.Cluster.Secret) > 0 || c.OperatorToken() != "" {
		t.Errorf("empty variables set secret %q, token %q", c.Cluster.Secret, c.OperatorToken())
	}
}

// The bounds of the secrets from both sides; an error never repeats a secret.
func TestSecretBounds(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{clusterSecretEnv, strings.Repeat("s", minClusterSecret-1), false},
		{clusterSecretEnv, strings.Repeat("s", minClusterSecret), true},
		{clusterSecretEnv, strings.Repeat("s", maxClusterSecret), true},
		{clusterSecretEnv, strings.Repeat("s", maxClusterSecret+1), false},
		{operatorTokenEnv, strings.Repeat("s", minOperatorToken-1), false},
		{operatorTokenEnv, strings.Repeat("s", minOperatorToken), true},
		{operatorTokenEnv, strings.Repeat("s", maxOperatorToken), true},
		{operatorTokenEnv, strings.Repeat("s", maxOperatorToken+1), false},
		{operatorTokenEnv, strings.Repeat("s", 20) + " ", false},
		{operatorTokenEnv, strings.Repeat("s", 20) + "é", false},
	} {
		_, err := Load(nil, configtest.Environ(tt.name+"="+tt.value))
		if tt.ok != (err == nil) || err != nil && configtest.ExitCode(err) != 2 {
			t.Errorf("%s of %d bytes: %v", tt.name, len(tt.value), err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), tt.name+": must be ") || strings.Contains(err.Error(), "sss")) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestClusterSecretFile(t *testing.T) {
	secret := strings.Repeat("s", minClusterSecret)
	dir := t.TempDir()
	for _, tt := range []struct {
		path, want, fault string
	}{
		{configtest.File(t, secret), secret, ""},
		{configtest.File(t, "\n "+secret+"\r\n"), secret, ""},
		{configtest.File(t, strings.Repeat("s", maxClusterSecret)), strings.Repeat("s", maxClusterSecret), ""},
		{configtest.File(t, secret[1:]), "", "must be a secret of 32 to 4096 bytes, not 31"},
		{configtest.File(t, strings.Repeat("s", maxClusterSecret+1)), "", "must be a secret of 32 to 4096 bytes, not 4097"},
		{configtest.File(t, strings.Repeat("s", 2*maxClusterSecret)), "", "read the cluster secret: it is larger"},
		{filepath.Join(dir, "missing"), "", "read the cluster secret: no such file"},
		{dir, "", "read the cluster secret: is a directory"},
	} {
		c := mustLoad(t, []string{"--config", configtest.File(t, "[cluster]\nlisten = \":7946\"\nsecret_file = \""+tt.path+"\"")})
		got, err := c.ClusterSecret()
		if string(got) != tt.want {
			t.Errorf("%s: the secret is %q", tt.path, got)
		}
		switch {
		case tt.fault == "" && err != nil:
			t.Errorf("%s: %v", tt.path, err)
		case tt.fault != "" && (configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "perfgate.toml: line 3: cluster.secret_file = ") || !strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "sss")):
			t.Errorf("%s: %v, want %q", tt.path, err, tt.fault)
		}
	}
	// A cluster may be off, and the variable needs no file.
	c := mustLoad(t, nil)
	if got, err := c.ClusterSecret(); len(got) > 0 || err != nil {
		t.Errorf("without a cluster: %q, %v", got, err)
	}
	c = mustLoad(t, []string{"--cluster-listen", ":7946"}, clusterSecretEnv+"="+secret)
	if got, err := c.ClusterSecret(); string(got) != secret || err != nil {
		t.Errorf("by the environment: %q, %v", got, err)
	}
}
