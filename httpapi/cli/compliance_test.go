package cli

import "testing"

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
