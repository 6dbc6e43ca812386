package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// Text of others cannot move the cursor, change the terminal or forge lines.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ümlaut 日本 …": "plain, ümlaut 日本 …",
		"\x1b[2Jx":           "?[2Jx",
		"a\nb\rc\td\x00":     "a?b?c?d?",
		"\u009b31m":          "?31m", // the one-character form of ESC [
		"\u202egpj.exe":      "?gpj.exe",
		"\u2066a\u2069":      "?a?",
		"\u2028\u2029":       "??",
		"\x7f":               "?",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// Tables, notices and errors go through printable, wherever the text comes from.
func TestEscapesAreKeptFromTheTerminal(t *testing.T) {
	const esc = `\u001b[31m`
	s := start(t, map[string]answer{
		"GET /v1/keys/key_1": {body: `{"id":"key_1","name":"` + esc + `","metadata":{"` + esc + `":"` + esc + `"}}`},
		"GET /v1/allowlist":  {body: `{"entries":[{"cidr":"` + esc + `","note":"` + esc + `"}]}`},
		"GET /v1/cluster":    {body: `{"leader":"` + esc + `","reasons":["` + esc + `"]}`},
		"GET /v1/usage":      {body: `{"data":[{"group":"` + esc + `"}]}`},
		"GET /v1/tiers":      {status: 400, body: `{"error":{"code":"` + esc + `","message":"` + esc + `"}}`},
		"GET /v1/audit-logs": {body: `{"id":"e","action":"` + esc + `","request":{"id":"r","method":"` + esc + `"}}` + "\n"},
	})
	for _, args := range []string{"keys get key_1", "allowlist get", "cluster status", "usage --group-by key", "tiers list", "explain r", "keys get \x1b", "\x1b"} {
		got := s.run(t, "", strings.Fields(args)...)
		if strings.Contains(got.out+got.err, "\x1b") || got.out+got.err == "" {
			t.Errorf("%s prints %q, %q", args, got.out, got.err)
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	table := newTable(&out, "A", "LONG HEAD")
	table.row("x", "")
	table.row("longer", "y\tz")
	table.field("left out", "")
	table.field("f", "v")
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "A       LONG HEAD\nx       -\nlonger  y?z\nf       v\n"; out.String() != want {
		t.Errorf("table\n%s\nwant\n%s", out.String(), want)
	}
}

// Numbers end below each other, whatever is as wide as it is on a terminal.
func TestTableColumns(t *testing.T) {
	var out strings.Builder
	table := newTable(&out, "NAME", "REQUESTS", "COST", "LEASE", "ID", "NONE")
	table.row("日本", "5", "0.25", "900 ms", "1", "")
	table.row("a", "", "12.5", "", "n2", "")
	table.row("é", "12345", "-3", "12 ms", "3", "")
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	want := `NAME  REQUESTS  COST   LEASE  ID  NONE
日本         5  0.25  900 ms  1   -
a            -  12.5       -  n2  -
é        12345    -3   12 ms  3   -
`
	if out.String() != want {
		t.Errorf("table\n%s\nwant\n%s", out.String(), want)
	}
	if err := table.flush(); err != nil || out.String() != want {
		t.Errorf("a second flush writes again: %v\n%s", err, out.String())
	}
}

func TestMinute(t *testing.T) {
	at := time.Date(2027, 1, 2, 1, 30, 59, 0, time.FixedZone("", 2*3600))
	for _, tt := range []struct {
		at   *time.Time
		want string
	}{{nil, ""}, {new(time.Time), ""}, {&at, "2027-01-01 23:30"}} {
		if got := minute(tt.at); got != tt.want {
			t.Errorf("minute(%v) = %q", tt.at, got)
		}
	}
}

func TestLimitText(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	for _, tt := range []struct {
		limits *client.Limits
		want   string
	}{
		{nil, ""},
		{&client.Limits{}, ""},
		{&client.Limits{PerMinute: n(0)}, "0 per minute"},
		{&client.Limits{PerMinute: n(60), Burst: n(5), PerMonth: n(1000)}, "60 per minute, burst 5, 1000 per month"},
	} {
		if got := limitText(tt.limits); got != tt.want {
			t.Errorf("limitText(%+v) = %q, want %q", tt.limits, got, tt.want)
		}
	}
}

// replaceFile gives a file its name only once it is written and checked.
func TestReplaceFile(t *testing.T) {
	failed := errors.New("failed")
	write := func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }
	for _, tt := range []struct {
		name  string
		write func(io.Writer) error
		check func(string) error
		want  string
	}{
		{"written", write, nil, "new"},
		{"checked", write, func(tmp string) error {
			if raw, err := os.ReadFile(tmp); err != nil || string(raw) != "new" {
				t.Errorf("the check reads %q, %v", raw, err)
			}
			return nil
		}, "new"},
		{"write fails", func(w io.Writer) error { write(w); return failed }, nil, "old"},
		{"check fails", write, func(string) error { return failed }, "old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := put(t, dir, "file", []byte("old"))
			err := replaceFile(path, tt.write, tt.check)
			if (err != nil) != (tt.want == "old") || err != nil && !errors.Is(err, failed) {
				t.Errorf("%v", err)
			}
			if raw, err := os.ReadFile(path); err != nil || string(raw) != tt.want {
				t.Errorf("the file holds %q, %v", raw, err)
			}
			noFiles(t, dir, ".*")
		})
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(dir, "taken"), write, nil); err == nil {
		t.Error("a directory is replaced")
	}
	noFiles(t, dir, ".*")
}

// Where stderr is no terminal, no progress bar is drawn.
func TestNoProgress(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, new(strings.Builder), nil} {
		a := &app{Config: Config{Stderr: w}}
		bar := a.progress("x", 3)
		if n, err := bar.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := bar.Close(); err != nil {
			t.Error(err)
		}
		if bar != (nopBar{}) {
			t.Errorf("%T draws a progress bar", w)
		}
	}
	if info, err := file.Stat(); err != nil || info.Size() > 0 {
		t.Errorf("%v, %v", info, err)
	}
}
