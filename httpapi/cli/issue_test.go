package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each command whose answer holds a secret prints it alone, or keeps it in a file that
// only the caller reads.
func TestSecretsGoWhereTheyBelong(t *testing.T) {
	const secret = "s3cret/+\\u0026x" // as JSON; an ampersand as Go writes it
	link := `{"id":"ses_1","account":"default","url":"s3cret/+&x","expires_at":"2027-01-01T00:00:00Z"}`
	user := `{"id":"usr_1","email":"a@b","role":"viewer","account":"default","state":"active","setup_url":"s3cret/+\u0026x"}`
	key := `{"id":"key_2","name":"n","type":"live","state":"active","key":"s3cret/+\u0026x"}`
	hook := `{"id":"whk_1","url":"https://a.b/","events":[],"secret":"s3cret/+\u0026x"}`
	s := start(t, map[string]answer{
		"POST /v1/keys":                         {status: 201, body: key},
		"POST /v1/keys/key_1/rotate":            {status: 201, body: key},
		"POST /v1/operator-tokens":              {status: 201, body: `{"id":"op_1","name":"ci","state":"active","token":"s3cret/+\u0026x"}`},
		"POST /v1/users":                        {status: 201, body: user},
		"POST /v1/users/usr_1/reset":            {body: user},
		"POST /v1/session-links":                {status: 201, body: link},
		"POST /v1/webhooks":                     {status: 201, body: hook},
		"POST /v1/webhooks/whk_1/rotate-secret": {body: hook},
	})
	for _, args := range []string{
		"keys create a --type live", "keys rotate key_1", "tokens create ci", "users create a@b --role viewer", "users reset usr_1", "users link",
		"webhooks create https://a.b/", "webhooks rotate-secret whk_1",
	} {
		with := func(more ...string) result { return s.run(t, "", append(strings.Fields(args), more...)...) }
		plain := "s3cret/+&x"
		if got := with("-q"); got.code != 0 || got.out != plain+"\n" || got.err != "" {
			t.Errorf("%s -q: %+v", args, got)
		}
		if got := with(); got.code != 0 || !strings.Contains(got.out, plain) || !strings.Contains(got.err, "it is not shown again") {
			t.Errorf("%s: %+v", args, got)
		}
		if got := with("--json"); got.code != 0 || !strings.Contains(got.out, secret) && !strings.Contains(got.out, plain) {
			t.Errorf("%s --json: %+v", args, got)
		}
		dir := t.TempDir()
		file := put(t, dir, "secret", []byte("an earlier one, which is longer"))
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, flags := range [][]string{{"--out", file}, {"--out", file, "-q"}, {"--out", file, "--json"}} {
			got := with(flags...)
			if got.code != 0 || strings.Contains(got.out+got.err, "s3cret") || strings.Contains(got.err, "Copy") || (got.out == "") != (flags[len(flags)-1] == "-q") {
				t.Errorf("%s %v: %+v", args, flags, got)
			}
			kept, err := os.ReadFile(file)
			info, _ := os.Stat(file)
			if err != nil || string(kept) != plain+"\n" || info.Mode().Perm() != 0o600 {
				t.Errorf("%s %v: the file has %q, mode %v, %v", args, flags, kept, info.Mode(), err)
			}
		}
		noFiles(t, dir, ".*")
	}
}

// A secret is never lost: what can be known before the call is found before it, and a file
// that cannot be written after it leaves the secret on the screen.
func TestSecretsAreNotLost(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys": {status: 201, body: issuedKey}})
	dir := t.TempDir()
	for args, want := range map[string]string{
		"--out " + dir:                      "is no file",
		"--out " + dir + "/missing/file":    "no such file or directory",
		"--json -q":                         "exclude each other",
		"-q --out " + dir + "/missing/f -q": "no such file or directory",
		"--out /dev/null":                   "is no file",
	} {
		got := s.run(t, "", append(strings.Fields("keys create a --type live"), strings.Fields(args)...)...)
		if got.code == 0 || !strings.Contains(got.err, want) || s.received() != "" {
			t.Errorf("%s: %+v after %q, want %q and no call", args, got, s.received(), want)
		}
	}
	// The directory disappears during the call.
	gone := filepath.Join(dir, "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	s.answers["POST /v1/keys"] = answer{do: func(w http.ResponseWriter, _ *http.Request, _ string) {
		os.RemoveAll(gone)
		w.WriteHeader(201)
		io.WriteString(w, issuedKey)
	}}
	got := s.run(t, "", "keys", "create", "a", "--type", "live", "--out", filepath.Join(gone, "key"))
	if got.code != 1 || !strings.Contains(got.out, "pk_live_") || !strings.Contains(got.err, "write "+gone) {
		t.Errorf("%+v", got)
	}
	noFiles(t, dir, ".*")
	// A repeat has no secret to write.
	s.answers["POST /v1/keys"] = answer{body: `{"id":"key_1","name":"n","type":"live","state":"active","key":null,"secret_withheld":true}`}
	for _, flag := range []string{"-q", "--out=" + filepath.Join(dir, "key")} {
		if got := s.run(t, "", "keys", "create", "a", "--type", "live", flag); got.code == 0 && flag != "-q" || !strings.Contains(got.err, "shown when this call was first made") {
			t.Errorf("%s: %+v", flag, got)
		}
	}
	noFiles(t, dir, "key")
}
