package peers

import (
	"os"
	"path/filepath"

	"github.com/perfgate/perfgate/e2e/harness"
)

// certificate writes a certificate for 127.0.0.1 with its key and returns the paths:
// certificate, key, both in one file.
func (b *bench) certificate(dir string) (cert, key, pair string) {
	b.Helper()
	cert, key, pair = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "pair.pem")
	harness.WriteCertificate(b, cert, key, "peers")
	var both []byte
	for _, path := range []string{cert, key} {
		raw, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		both = append(both, raw...)
	}
	if err := os.WriteFile(pair, both, 0o600); err != nil {
		b.Fatal(err)
	}
	return cert, key, pair
}
