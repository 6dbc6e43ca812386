package config

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/perfgate/perfgate/node/datadir"
)

// The bounds of the two secrets that the environment gives, in bytes.
const (
	minClusterSecret = 32
	maxClusterSecret = 4096
	minOperatorToken = 16
	maxOperatorToken = 256
)

// secrets takes the secrets that only the environment gives. Their values are
// in no error.
func (c *Config) secrets(env Getenv, l *loader) {
	if v, ok := env(clusterSecretEnv); ok && strings.TrimSpace(v) != "" {
		v = strings.TrimSpace(v) // like the content of a file
		if reason := clusterSecretFault(len(v)); reason != "" {
			l.fault(clusterSecretEnv, "", nil, reason)
		}
		c.Cluster.Secret = []byte(v)
	}
	if v, ok := env(PassphraseEnv); ok {
		c.Backup.Passphrase = v
	}
	c.encryptionKeys(env)
	if v, ok := env(operatorTokenEnv); ok && v != "" {
		visible := !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' })
		if len(v) < minOperatorToken || len(v) > maxOperatorToken || !visible {
			l.fault(operatorTokenEnv, "", nil, fmt.Sprintf("must be %d to %d visible ASCII characters without spaces", minOperatorToken, maxOperatorToken))
		}
		c.source.operatorToken = v
	}
}

// encryptionKeys takes the keys that the environment gives. They are parsed where they
// are used.
func (c *Config) encryptionKeys(env Getenv) {
	c.Encryption.Key, _ = env(EncryptionKeyEnv)
	c.Encryption.PreviousKey, _ = env(PreviousKeyEnv)
}

// ClusterSecret is the secret that nodes prove to each other before one admits the
// other: PERFGATE_CLUSTER_SECRET, or the content of cluster.secret_file without
// the white space around it. An error is a [*UsageError].
func (c *Config) ClusterSecret() ([]byte, error) {
	if len(c.Cluster.Secret) > 0 || c.Cluster.SecretFile == "" {
		return c.Cluster.Secret, nil
	}
	raw, err := datadir.ReadFile(c.Cluster.SecretFile, maxClusterSecret+2)
	if err != nil {
		return nil, c.Fault("cluster.secret_file", "read the cluster secret: "+datadir.Reason(err).Error())
	}
	secret := bytes.TrimSpace(raw)
	if reason := clusterSecretFault(len(secret)); reason != "" {
		return nil, c.Fault("cluster.secret_file", reason)
	}
	return secret, nil
}

// maxPassword bounds the content of mail.password_file, in bytes.
const maxPassword = 1024

// MailPassword is the content of mail.password_file without the white space around it. An
// error is a [*UsageError].
func (c *Config) MailPassword() (string, error) {
	if c.Mail.PasswordFile == "" {
		return "", nil
	}
	raw, err := datadir.ReadFile(c.Mail.PasswordFile, maxPassword)
	if err != nil {
		return "", c.Fault("mail.password_file", "read the password: "+datadir.Reason(err).Error())
	}
	return string(bytes.TrimSpace(raw)), nil
}

// clusterSecretFault is the reason for which a secret of n bytes is refused, or "".
func clusterSecretFault(n int) string {
	if n >= minClusterSecret && n <= maxClusterSecret {
		return ""
	}
	return fmt.Sprintf("must be a secret of %d to %d bytes, not %d; \"perfgate cluster secret\" makes one", minClusterSecret, maxClusterSecret, n)
}

// maxClientSecret bounds the secret at the provider, in bytes.
const maxClientSecret = 4096

// OIDCSecret is the content of signin.oidc.client_secret_file without the white space around
// it; "" without a file. An error is a [*UsageError].
func (c *Config) OIDCSecret() (string, error) {
	const key = "signin.oidc.client_secret_file"
	if c.SignIn.OIDC.ClientSecretFile == "" {
		return "", nil
	}
	raw, err := datadir.ReadFile(c.SignIn.OIDC.ClientSecretFile, maxClientSecret)
	if err != nil {
		return "", c.Fault(key, "read the secret: "+datadir.Reason(err).Error())
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", c.Fault(key, "the file is empty")
	}
	return secret, nil
}
