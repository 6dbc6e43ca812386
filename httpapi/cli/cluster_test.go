package cli

import (
	"encoding/base64"
	"strings"
	"testing"
)

const aCluster = `{"cluster_id":"c1","leader":"n1","term":2,"healthy":false,"failure_tolerance":1,"reasons":["n3 is unreachable","two voters are left"],"warnings":["n1: usage is lost"],"nodes":[` +
	`{"name":"n1","role":"leader","state":"ready","applied_index":70,"lease_ms":null,"version":"1.2.3","region":"eu","last_contact_ms":0},` +
	`{"name":"n2","role":"follower","state":"ready","applied_index":68,"lease_ms":1500,"version":"1.2.3","region":"","last_contact_ms":12},` +
	`{"name":"n3","role":"follower","state":"unreachable","applied_index":0,"lease_ms":0,"version":"","region":"","last_contact_ms":-1}]}`

func TestCluster(t *testing.T) {
	const table = `cluster            c1
leader             n1
term               2
healthy            false
failure tolerance  1
reason             n3 is unreachable
reason             two voters are left
warning            n1: usage is lost

NODE  ROLE      STATE        APPLIED  LAG    LEASE  LAST CONTACT  VERSION  REGION
n1    leader    ready             70    -        -  0 ms          1.2.3    eu
n2    follower  ready             68    2  1500 ms  12 ms         1.2.3    -
n3    follower  unreachable        0   70     0 ms  never         -        -`
	s := start(t, map[string]answer{
		"GET /v1/cluster":                      {body: aCluster},
		"POST /v1/cluster/transfer-leadership": {body: aCluster},
		"DELETE /v1/cluster/nodes/n3":          {body: `{"id":"n3","deleted":true}`},
	})
	testCommands(t, s, []commandTest{
		{args: "cluster transfer", calls: "POST /v1/cluster/transfer-leadership {}", out: table},
		{args: "cluster transfer n2", calls: `POST /v1/cluster/transfer-leadership {"to":"n2"}`, out: table},
		{args: "cluster transfer n2 --force", calls: `POST /v1/cluster/transfer-leadership?force=true {"to":"n2"}`, out: table},
		{args: "cluster remove n3", calls: "DELETE /v1/cluster/nodes/n3", out: "deleted  n3"},
		{args: "cluster remove n3 --force", calls: "DELETE /v1/cluster/nodes/n3?force=true", out: "deleted  n3"},
	})
	testFailures(t, s, []failure{
		{args: "cluster", code: 2, err: "perfgate cluster needs a subcommand; see perfgate cluster --help"},
		{args: "cluster remove", code: 2, err: "accepts 1 arg"},
		{args: "cluster remove n4", code: 1, err: "No such route or endpoint. (not_found)"},
		{args: "cluster transfer n1 n2", code: 2, err: "accepts at most 1 arg"},
	})
}

// A secret is random, long enough, and made without a server.
func TestClusterSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		got := perfgate(t, "", nil, "cluster", "secret")
		secret := strings.TrimSuffix(got.out, "\n")
		raw, err := base64.RawURLEncoding.DecodeString(secret)
		if got.code != 0 || got.err != "" || err != nil || len(raw) != secretBytes || seen[secret] {
			t.Errorf("%+v: %v", got, err)
		}
		seen[secret] = true
	}
}

func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		status    int
		body      string
		code      int
		out, json string
		err       string
	}{
		{200, `{"status":"ok","reason":null}`, 0, "ok\n", `{"status":"ok","reason":null}` + "\n", ""},
		{503, `{"status":"unavailable","reason":"draining\u001b[2J"}`, 1, "", `{"status":"unavailable","reason":"draining\u001b[2J"}` + "\n", "perfgate: not ready: draining?[2J\n"},
		{503, `{"status":"unavailable"}`, 1, "", `{"status":"unavailable","reason":null}` + "\n", "perfgate: not ready: unavailable\n"},
		{200, `<html>`, 1, "", "", "check --server: GET /readyz: 200 OK"},
		{502, `{}`, 1, "", "", "check --server: GET /readyz: 502 Bad Gateway"},
	} {
		s := start(t, map[string]answer{"GET /readyz": {status: tt.status, body: tt.body}})
		got := s.run(t, "", "health")
		if got.code != tt.code || got.out != tt.out || !strings.Contains(got.err, tt.err) {
			t.Errorf("%s: %+v", tt.body, got)
		}
		if auth := s.calls[0].header.Get("Authorization"); auth != "" {
			t.Errorf("a probe sends a token: %s", auth)
		}
		if got := s.run(t, "", "health", "--json"); got.code != tt.code || got.out != tt.json {
			t.Errorf("%s --json: %+v", tt.body, got)
		}
	}
}

// The exit code of the status is 2 when the cluster is not healthy, with either form
// of output, and 1 when there is no answer.
func TestClusterStatusExitCode(t *testing.T) {
	for _, tt := range []struct {
		body  string
		code  int
		shows string
	}{
		{aCluster, 2, "reason             two voters are left"},
		{strings.NewReplacer(`"healthy":false`, `"healthy":true`, `"reasons":["n3 is unreachable","two voters are left"]`, `"reasons":[]`).Replace(aCluster), 0, "healthy            true"},
	} {
		s := start(t, map[string]answer{"GET /v1/cluster": {body: tt.body}})
		if got := s.run(t, "", "cluster", "status"); got.code != tt.code || !strings.Contains(got.out, tt.shows) || got.err != "" {
			t.Errorf("%+v", got)
		}
		if got := s.run(t, "", "cluster", "status", "--json"); got.code != tt.code || !strings.Contains(got.out, `"failure_tolerance": 1`) && !strings.Contains(got.out, `"failure_tolerance":1`) {
			t.Errorf("--json: %+v", got)
		}
	}
	s := start(t, map[string]answer{"GET /v1/cluster": {status: 503, body: `{"error":{"type":"unavailable","code":"unavailable","message":"Starting."}}`}})
	if got := s.run(t, "", "cluster", "status"); got.code != 1 {
		t.Errorf("without an answer: %+v", got)
	}
}
