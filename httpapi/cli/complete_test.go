package cli

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/spf13/pflag"
)

// completions returns what the shell offers after a command line.
func (s *server) completions(t *testing.T, args ...string) []string {
	t.Helper()
	got := s.run(t, "", append([]string{"__complete"}, args...)...)
	lines := strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
	if got.code != 0 || lines[len(lines)-1] != ":4" {
		t.Errorf("%q: %+v; want a last line :4, so that no files are offered", args, got)
	}
	return lines[:len(lines)-1]
}

// The shell completes ids with what the server has, and values with what flags take.
func TestCompletions(t *testing.T) {
	const keys = `{"data":[{"id":"key_1","name":"Production","type":"live","state":"active"},{"id":"key_2","name":"a\u001b[2Jb\nc","type":"test","state":"revoked"}],"next_cursor":null}`
	s := start(t, map[string]answer{
		"GET /v1/keys":      {body: keys},
		"GET /v1/accounts":  {body: `{"data":[{"id":"acct_1","name":"Acme","tier":"pro"},{"id":"default","name":"default","tier":"free"}],"next_cursor":null}`},
		"GET /v1/tiers":     {body: `{"data":[{"name":"pro","live":{},"test":{}}],"next_cursor":null}`},
		"GET /v1/incidents": {body: `{"data":[{"id":"inc_1","title":"Laptop","action":"none","state":"open"},{"id":"inc_2","title":"Old","action":"none","state":"closed"}],"next_cursor":null}`},
		"GET /v1/cluster":   {body: `{"cluster_id":"c","nodes":[{"name":"n1","state":"ready"},{"name":"n2","state":"down"}]}`},
		"GET /v1/allowlist": {body: `{"entries":[{"cidr":"192.0.2.0/24","note":"office"},{"cidr":"198.51.100.7","note":""}]}`},
	})
	for _, c := range []struct{ args, want, call string }{
		{"keys get|", "key_1\tProduction live active|key_2\ta?[2Jb c test revoked", "GET /v1/keys?limit=200"},
		{"keys get|key", "key_1\tProduction live active|key_2\ta?[2Jb c test revoked", "GET /v1/keys?limit=200&q=key"},
		{"keys get|key_2", "key_2\ta?[2Jb c test revoked", "GET /v1/keys?limit=200&q=key_2"},
		{"keys revoke|", "key_1\tProduction live active", "GET /v1/keys?limit=200"},
		{"keys revoke key_1|", "", "GET /v1/keys?limit=200"}, // it is on the line already
		{"keys get key_1|", "", ""}, // takes one
		{"usage --key|", "key_1\tProduction live active|key_2\ta?[2Jb c test revoked", "GET /v1/keys?limit=200"},
		{"keys list --account|a", "acct_1\tAcme", "GET /v1/accounts?limit=200"},
		{"accounts update acct_1 --tier|", "pro", "GET /v1/tiers?limit=200"},
		{"accounts delete|", "acct_1\tAcme|default", "GET /v1/accounts?limit=200"},
		{"incident close|", "inc_1\tLaptop open", "GET /v1/incidents?limit=200"},
		{"cluster remove|", "n1\tready|n2\tdown", "GET /v1/cluster"},
		{"allowlist remove 192.0.2.0/24|", "198.51.100.7", "GET /v1/allowlist"},
		{"keys create a --type|", "live|test", ""},
		{"keys list --state|", "active|disabled|rotating|revoked|expired", ""},
		{"keys update key_1 --state|", "active|disabled", ""},
		{"usage --group-by|", "key|status|country|route|method|type|environment", ""},
		{"keys create|", "", ""},
		{"completion|", "bash|zsh|fish|powershell", ""},
		{"keys get --server http://127.0.0.1:1|", "", ""}, // nothing listens there
	} {
		words, typed, _ := strings.Cut(c.args, "|")
		args := append(strings.Fields(words), typed)
		if got := strings.Join(s.completions(t, args...), "|"); got != c.want || s.received() != c.call {
			t.Errorf("%q: %q after %q, want %q after %q", args, got, s.received(), c.want, c.call)
		}
	}
}

// A server that refuses or hangs completes nothing, and says nothing into the line.
func TestCompletionsWithoutAnswer(t *testing.T) {
	release := make(chan struct{})
	for name, handler := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"foreign": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
	} {
		s := start(t, nil)
		s.Config.Handler = handler
		begin := time.Now()
		if got := s.completions(t, "keys", "get", ""); len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
		if took := time.Since(begin); took > completeTimeout+time.Minute {
			t.Errorf("%s: took %v", name, took)
		}
	}
	close(release)
}

// Every entry of the tables belongs to a command and a flag, and each command that takes
// an id is in them.
func TestCompletionTables(t *testing.T) {
	root := New(Config{})
	flags := map[string]bool{}
	for _, cmd := range leavesOf(root) {
		name := strings.TrimPrefix(cmd.CommandPath(), "perfgate ")
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags[f.Name], flags[name+" "+f.Name] = true, true })
		_, completed := argumentsOf[name]
		if takes := strings.HasSuffix(cmd.Use+" ", " ID ") || strings.Contains(cmd.Use, "[ID") || strings.Contains(cmd.Use, "NODE"); takes && !completed {
			t.Errorf("%s: completes no id; add it to argumentsOf", name)
		}
	}
	for name := range argumentsOf {
		if cmd, _, err := root.Find(strings.Fields(name)); err != nil || cmd.CommandPath() != "perfgate "+name {
			t.Errorf("argumentsOf: there is no command %s", name)
		}
	}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
	for name := range valuesOf {
		if !flags[name] {
			t.Errorf("valuesOf: there is no flag %s", name)
		}
	}
	for name := range flagsFrom {
		if !flags[name] {
			t.Errorf("flagsFrom: there is no flag %s", name)
		}
	}
}

// The values that the shell offers are those that the API describes.
func TestCompletedValues(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	enums := map[string][][]string{}
	note := func(name string, schema *openapi3.Schema) {
		if schema.Items != nil {
			schema = schema.Items.Value
		}
		var values []string
		for _, v := range schema.Enum {
			if text, ok := v.(string); ok {
				values = append(values, text)
			}
		}
		if len(values) > 0 {
			enums[name] = append(enums[name], values)
		}
	}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, p := range op.Parameters {
				if p.Value.Schema != nil {
					note(p.Value.Name, p.Value.Schema.Value)
				}
			}
		}
	}
	for _, schema := range doc.Components.Schemas {
		for name, p := range schema.Value.Properties {
			note(name, p.Value)
		}
	}
	checked := 0
	for name, values := range valuesOf {
		words := strings.Fields(name)
		flag := snake(words[len(words)-1])
		known := enums[flag]
		if flag == "event" {
			known = enums["events"]
		}
		if len(known) == 0 {
			continue
		}
		checked++
		if !slices.ContainsFunc(known, func(enum []string) bool {
			return !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(enum, v) })
		}) {
			t.Errorf("%s: %v; the API describes %v", name, values, known)
		}
	}
	if checked < 8 {
		t.Errorf("only %d flags have values that the API describes", checked)
	}
}

// The scripts name the program and ask it for completions.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := perfgate(t, "", nil, "completion", shell)
		if got.code != 0 || !strings.Contains(got.out, "perfgate") || !strings.Contains(got.out, "__complete") {
			t.Errorf("%s: exit code %d, %d bytes: %s", shell, got.code, len(got.out), got.err)
		}
	}
	testFailures(t, start(t, nil), []failure{
		{args: "completion", code: 2, err: "accepts 1 arg"},
		{args: "completion csh", code: 2, err: `"csh"`},
	})
}
