package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompliance(t *testing.T) {
	const report = `{"generated_at":"2026-01-02T03:04:05Z","node":"n1","version":"1.2.3","cluster_id":"cl_1","region":null,"data":[` +
		`{"control":"encryption_at_rest","title":"Encryption at rest","state":"met","setting":"s","fact":"n1 encrypts 3 files.","verify":"perfgate keyring status","references":["SOC 2 CC6.1"],"items":[],"count":0},` +
		`{"control":"key_rotation","title":"Live keys are rotated","state":"attention","setting":"s","fact":"2 keys are due.","verify":"perfgate keys list --due 0s","references":[],"items":["key key_1 is due"],"count":2}]}`
	s := start(t, map[string]answer{"GET /v1/compliance": {body: report}})
	testCommands(t, s, []commandTest{
		{args: "compliance", calls: "GET /v1/compliance", out: `MET: Encryption at rest
  n1 encrypts 3 files.
  check: perfgate keyring status

ATTENTION: Live keys are rotated
  2 keys are due.
  - key key_1 is due
  - and 1 more
  check: perfgate keys list --due 0s`},
		{args: "compliance --json", calls: "GET /v1/compliance", out: report},
	})
}

// TestDownloads writes what the dashboard offers as a download: CSV of usage, and the report
// to print.
func TestDownloads(t *testing.T) {
	s := start(t, map[string]answer{
		"GET /v1/compliance": {body: "<!doctype html>"},
		"GET /v1/usage": {body: `{"data":[{"time":"2027-01-01T00:00:00Z","group":"=HYPERLINK(1)","requests":5,"denied":1,"failed":0,"units":4,"cost":0.30,"billable":4,"would_refuse":2},` +
			`{"time":"2027-01-02T00:00:00Z","group":null,"requests":1,"denied":0,"failed":0,"units":1,"cost":0,"billable":1,"would_refuse":0}],"missing":[{"node":"n2","reason":"away"}]}`},
	})
	dir := t.TempDir()
	const usage = "time,country,requests,denied,units,cost,billable,would_refuse\n2027-01-01T00:00:00Z,'=HYPERLINK(1),5,1,4,0.30,4,2\n2027-01-02T00:00:00Z,,1,0,1,0,1,0\n"
	for _, c := range []struct{ args, out, file, err string }{
		{"usage --csv --group-by country", usage, "", "n2"},
		{"usage --csv --group-by country --output " + dir + "/u.csv", "", usage, "n2"},
		{"compliance --html", "<!doctype html>", "", ""},
		{"compliance --html --output " + dir + "/c.html", "", "<!doctype html>", ""},
	} {
		got := s.run(t, "", strings.Fields(c.args)...)
		if got.code != 0 || got.out != c.out || !strings.Contains(got.err, c.err) {
			t.Errorf("%s: %+v", c.args, got)
		}
		if c.file != "" {
			raw, err := os.ReadFile(filepath.Join(dir, filepath.Base(c.args)))
			if err != nil || string(raw) != c.file {
				t.Errorf("%s: %v, %q", c.args, err, raw)
			}
		}
	}
	testFailures(t, s, []failure{
		{args: "usage --output x", code: 2, err: "--output needs --csv"},
		{args: "usage --csv --json", code: 2, err: "neither with --watch nor with --json"},
		{args: "usage --csv --watch", code: 2, err: "neither with --watch nor with --json"},
		{args: "compliance --output x", code: 2, err: "--output needs --html"},
		{args: "compliance --html --json", code: 2, err: "do not go together"},
		{args: "usage --csv --output " + dir + "/none/u.csv", code: 1, err: "write " + dir},
	})
}
