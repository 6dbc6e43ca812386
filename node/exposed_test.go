package node

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/datadir"
)

// write makes a file of a mode, whatever the process's mask.
func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// A data directory and files with secrets to which others have access are warned about,
// by check-config and by a start; those of the owner alone are not.
func TestExposedFilesAreWarnedAbout(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o640, 0o604} {
		dir, data, pair := t.TempDir(), t.TempDir(), dated(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
		secret := write(t, filepath.Join(dir, "secret"), rand.Text()+rand.Text(), mode)
		write(t, filepath.Join(data, datadir.OperatorTokenFile), "x", mode)
		for path, of := range map[string]os.FileMode{pair.KeyFile: mode, pair.CertFile: 0o644, data: mode | 0o100} {
			if err := os.Chmod(path, of); err != nil {
				t.Fatal(err)
			}
		}
		route := fmt.Sprintf("[[proxy.routes]]\npath = \"/\"\nupstreams = [\"https://h\"]\nupstream_tls = { cert_file = %q, key_file = %q }\n", pair.CertFile, pair.KeyFile)
		file := configtest.File(t, tlsTable(pair)+route+"[cluster]\nlisten = \"127.0.0.1:0\"\nadvertise = \"127.0.0.1:7\"\nsecret_file = \""+secret+"\"\n")
		args := []string{"--config", file, "--data-dir", data}
		_, warned, err := check(t, args)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		logger, _ := NewLogger(&log, config.Log{Level: "info", Format: "text"})
		(&Node{log: logger}).warn(mustLoad(t, args))
		for _, want := range []string{
			fmt.Sprintf("--data-dir: node.data_dir = %q: others than its owner have access (mode %04o)", data, mode|0o100),
			fmt.Sprintf("--data-dir: node.data_dir = %q: others than its owner have access to operator.token in it; chmod 600 that file", data),
			fmt.Sprintf("line 3: proxy.tls.key_file = %q: others than its owner have access to this file (mode %04o); chmod 600 it", pair.KeyFile, mode),
			fmt.Sprintf("line 7: proxy.routes[0].upstream_tls.key_file = %q: others than its owner have access to this file (mode %04o); chmod 600 it", pair.KeyFile, mode),
			fmt.Sprintf("line 11: cluster.secret_file = %q: others than its owner have access", secret),
		} {
			open := mode != 0o600
			if strings.Contains(warned, want) != open || strings.Contains(log.String(), strings.ReplaceAll(want, `"`, `\"`)) != open {
				t.Errorf("mode %04o: check-config warns\n%sa start logs\n%sabout %s", mode, warned, log.String(), want)
			}
		}
		if strings.Contains(warned, "cert_file") {
			t.Errorf("a certificate is no secret: %s", warned)
		}
	}
}

// A file of certificate authorities that cannot be used is a fault, with its line.
func TestCheckConfigReadsClientCAs(t *testing.T) {
	dir := t.TempDir()
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
	pair := dated(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	for name, tt := range map[string]struct{ path, want string }{
		"missing":       {filepath.Join(dir, "none"), "no such file or directory"},
		"empty":         {write(t, filepath.Join(dir, "empty"), "", 0o600), "there is no certificate in it"},
		"no PEM":        {write(t, filepath.Join(dir, "junk"), "junk", 0o600), "there is no certificate in it"},
		"a private key": {write(t, filepath.Join(dir, "key"), string(key), 0o600), "there is no certificate in it"},
		"a directory":   {dir, "is a directory"},
	} {
		for _, table := range []string{"proxy", "admin"} {
			text := strings.ReplaceAll(tlsTable(pair), "[proxy.", "["+table+".") + fmt.Sprintf("client_ca_file = %q\n", tt.path)
			_, _, err := check(t, []string{"--config", configtest.File(t, text), "--data-dir", t.TempDir()})
			want := fmt.Sprintf("line 4: %s.tls.client_ca_file = %q: %s", table, tt.path, tt.want)
			if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: %v", name, table, err)
			}
		}
	}
	// Where no TLS is, the file would protect nothing.
	text := fmt.Sprintf("[admin.tls]\nclient_ca_file = %q\n", pair.CertFile)
	if _, _, err := check(t, []string{"--config", configtest.File(t, text), "--data-dir", t.TempDir()}); configtest.ExitCode(err) != 2 ||
		!strings.Contains(err.Error(), "line 2: admin.tls.client_ca_file") || !strings.Contains(err.Error(), "admin.tls.cert_file and key_file must be set too") {
		t.Errorf("on loopback without TLS: %v", err)
	}
}
