package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeReport is what fakeArchive says about a backup.
type fakeReport struct {
	Bytes int `json:"bytes"`
}

func (r fakeReport) String() string { return fmt.Sprintf("%d bytes\n", r.Bytes) }

// fakeArchive seals by writing the passphrase around the content.
func fakeArchive() Archive {
	return Archive{
		Seal: func(w io.Writer, passphrase string) (io.WriteCloser, error) {
			_, err := io.WriteString(w, passphrase+"<")
			return fakeSeal{w}, err
		},
		Verify: func(r io.Reader, passphrase string) (fmt.Stringer, error) {
			raw, err := io.ReadAll(r)
			text := string(raw)
			if passphrase != "" {
				text = strings.TrimSuffix(strings.TrimPrefix(text, passphrase+"<"), ">")
			}
			if err != nil || text != "content" {
				return nil, errors.Join(fmt.Errorf("the backup is damaged"), err)
			}
			return fakeReport{len(raw)}, nil
		},
	}
}

type fakeSeal struct{ io.Writer }

func (s fakeSeal) Close() error { _, err := io.WriteString(s.Writer, ">"); return err }

func TestBackup(t *testing.T) {
	content, broken := "content", false
	s := start(t, map[string]answer{"GET /v1/backup": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		io.WriteString(w, content)
		if broken {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}}})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	dir := t.TempDir()
	secret := put(t, dir, "secret", []byte("file\nmore"))
	path := filepath.Join(dir, "out.backup")
	backup := func(env map[string]string, args ...string) run {
		var out, errs bytes.Buffer
		code := Execute(t.Context(), Config{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Archive: fakeArchive(),
			Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		}, append([]string{"backup", "--server", s.URL, "--token", "pgop_x"}, args...))
		return run{code, out.String(), errs.String()}
	}
	for _, c := range []struct {
		args  []string
		env   map[string]string
		holds string
	}{
		{nil, nil, "content"},
		{nil, map[string]string{passphraseEnv: "env"}, "env<content>"},
		{[]string{"--passphrase-file", secret}, map[string]string{passphraseEnv: "env"}, "file<content>"},
	} {
		got := backup(c.env, append(c.args, path)...)
		raw, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if got.code != 0 || err != nil || string(raw) != c.holds || info.Mode().Perm() != 0o600 || got.out != fmt.Sprintf("%d bytes\n", len(raw)) {
			t.Errorf("%v: %+v; the file holds %q: %v", c.args, got, raw, err)
		}
		if warned := strings.Contains(got.err, "not encrypted"); warned != (c.holds == "content") {
			t.Errorf("%v: stderr %q", c.args, got.err)
		}
		if got := backup(c.env, c.args...); got.code != 0 || got.out != c.holds {
			t.Errorf("%v to stdout: %+v", c.args, got)
		}
		if got := backup(c.env, append(c.args, "verify", path)...); got.code != 0 || got.out != fmt.Sprintf("%d bytes\n", len(raw)) {
			t.Errorf("%v verify: %+v", c.args, got)
		}
	}
	if got := backup(nil, "--json", path); got.out != "{\"bytes\":7}\n" {
		t.Errorf("%+v", got)
	}
	// What is not whole gets no name, and what had the name keeps it.
	for _, breaks := range []bool{false, true} {
		content, broken = "cont", breaks
		if got := backup(nil, path); got.code != 1 || got.out != "" {
			t.Errorf("%+v", got)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != "content" {
			t.Errorf("%q, %v", raw, err)
		}
	}
	if got := backup(nil); got.code != 1 {
		t.Errorf("a stream that breaks off, to stdout: %+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, args := range [][]string{{"a", "b"}, {"verify"}, {"--passphrase-file"}} {
		if got := backup(nil, args...); got.code != 2 {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := backup(nil, "--passphrase-file", filepath.Join(dir, "none"), path); got.code != 1 || !strings.Contains(got.err, "passphrase") {
		t.Errorf("%+v", got)
	}
}
