package cli

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

// exportFiles writes an export of three events, and the head that was kept of two of them.
func exportFiles(t *testing.T) (file, heads string) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	at := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	keys := []chain.Key{chain.NewKey(key, nil, at)}
	state := chain.Genesis("evt_abcdefgh", "default", 1)
	c := chain.Chain{Stream: "evt_abcdefgh", Node: "n1", Account: "default", From: state}
	var kept chain.HeadFile
	var text strings.Builder
	enc := chain.NewEncoder()
	for i, digit := range []string{"1", "2", "3"} {
		r := chain.Record{"evt_abcdefgh0000000000" + digit, digit, at.Format(chain.TimeFormat), "read", "request", 8: "default", 11: "success"}
		leaf := r.Leaf(enc)
		g := chain.Segment{First: uint64(i + 1), Last: uint64(i + 1), Count: 1, Time: at.UnixMilli(), Root: leaf}
		state = state.Next(&g)
		c.Segments = append(c.Segments, chain.Show(g, state, []bool{true}, nil))
		text.WriteString(`{"id":"` + r[0] + `","seq":` + digit + `,"time":"` + r[2] + `","event_type":"read","action":"request","account":"default","outcome":"success","hash":"` + leaf.Hex() + "\"}\n")
		list := []chain.Account{{Account: "default", State: state}}
		h := chain.Head{Stream: c.Stream, Node: "n1", Number: uint64(i + 1), Time: at, Seq: state.Seq, Begin: 1, Accounts: 1, Root: chain.AccountsRoot(list)}
		h.Sign(key)
		path, err := chain.PathTo(list, "default")
		if err != nil {
			t.Fatal(err)
		}
		c.Head, c.Path = &h, path
		if s := state; i == 1 {
			kept = chain.HeadFile{Account: "default", Keys: keys, Data: []chain.KeptHead{{Head: h, State: &s, Path: &path}}}
		}
	}
	proof, err := json.Marshal(map[string]any{"proof": chain.Proof{Version: chain.Version, Order: "asc", Keys: keys, Chains: []chain.Chain{c}}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(&kept)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, heads = filepath.Join(dir, "log.ndjson"), filepath.Join(dir, "heads.jsonl")
	write(t, file, text.String()+string(proof)+"\n")
	write(t, heads, string(raw)+"\n\n")
	return file, heads
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The command says whether an export is whole, names the first bad event, and exits with 1
// if it is not.
func TestAuditVerify(t *testing.T) {
	s := start(t, nil)
	file, heads := exportFiles(t)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad, cut, none := file+".bad", file+".cut", file+".none"
	write(t, bad, strings.Replace(string(raw), `2,"time":"2027-01-31T12:00:00.000Z","event_type":"read"`, `2,"time":"2027-01-31T12:00:00.000Z","event_type":"create"`, 1))
	write(t, cut, string(raw[:len(raw)-10]))
	write(t, none, "\n")
	for _, c := range []struct {
		args []string
		in   string
		code int
		want string
	}{
		{[]string{file}, "", 0, "3 events, 3 proven\nOK, as far as the export itself can tell"},
		{[]string{"-"}, string(raw), 0, "3 events, 3 proven"},
		{[]string{file, "--head", heads}, "", 0, "1 kept heads found again"},
		{[]string{file, "--json"}, "", 0, `"proven":3`},
		{[]string{bad}, "", 1, "first bad event: evt_abcdefgh00000000002 (number 2): altered"},
		{[]string{bad, "--head", heads}, "", 1, "evt_abcdefgh00000000002"},
		{[]string{cut}, "", 1, "ends without its proof"},
		{[]string{file, "--key", "ask_other"}, "", 1, "which is not trusted"},
		{[]string{file, "--head", none}, "", 1, ""},
		{[]string{file, "--head", file}, "", 1, ""},
		{[]string{file + ".missing"}, "", 1, ""},
		{nil, "", 2, ""},
	} {
		got := s.run(t, c.in, append([]string{"audit", "verify"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.out, c.want) {
			t.Errorf("%v: exit code %d, want %d with %q: %s%s", c.args, got.code, c.code, c.want, got.out, got.err)
		}
	}
}

// Heads are appended to a file, one in each line.
func TestAuditHead(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/audit-logs/head": {body: `{"account":"default","data":[],"keys":[],"missing":[]}` + "\n"}})
	name := filepath.Join(t.TempDir(), "heads")
	for range 2 {
		if got := s.run(t, "", "audit", "head", "--output", name); got.code != 0 || got.out != "" {
			t.Fatalf("exit code %d: %s%s", got.code, got.out, got.err)
		}
	}
	raw, err := os.ReadFile(name)
	if err != nil || strings.Count(string(raw), "\n") != 2 {
		t.Errorf("%q, %v", raw, err)
	}
	if got := s.run(t, "", "audit", "head"); got.code != 0 || !strings.HasPrefix(got.out, `{"account":"default"`) {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
	}
}
