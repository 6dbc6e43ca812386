package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// The files in testdata/apply are conversations with apply: a line that begins
// with ">" is a command (its JSON; one second passes before each), or one of
//
//	> wait 24h        let time pass
//	> restart         close and open the store
//	> events ACCOUNT  show audit events
//	> rows PREFIX     show rows
//
// and the answer follows. -rewrite writes the answers again; the diff then shows
// the effect of a change of apply.
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/apply/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := converse(t, string(want))
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("apply answers otherwise (go test -rewrite accepts it): %s", firstDifference(got, string(want)))
			}
		})
	}
}

// converse answers every command of a transcript; comments and blank lines stay.
func converse(t *testing.T, script string) string {
	h := begun(t)
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		in, isInput := strings.CutPrefix(line, "> ")
		if !isInput {
			if line == "" || strings.HasPrefix(line, "#") {
				fmt.Fprintln(&out, line)
			}
			continue
		}
		fmt.Fprintln(&out, line)
		word, rest, _ := strings.Cut(in, " ")
		switch word {
		case "wait":
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatal(err)
			}
			h.at = h.at.Add(d)
		case "restart":
			h.reopen()
		case "events":
			for e, err := range h.Events(EventQuery{Account: AccountID(rest)}) {
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&out, "%s %s %s %s %q %s\n", e.ID, e.EventType, e.Action, e.Target, e.Reason, e.Changes)
			}
		case "rows":
			for row := range strings.SplitSeq(dump(t, h.Store), "\n") {
				if strings.HasPrefix(row, `"`+rest) {
					fmt.Fprintln(&out, row)
				}
			}
		default:
			c := new(Command)
			if err := json.Unmarshal([]byte(in), c, json.RejectUnknownMembers(true)); err != nil {
				t.Fatalf("%s: %v", in, err)
			}
			r := h.do(c)
			b, err := json.Marshal(&r, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, strings.TrimSpace(map[bool]string{true: "repeat "}[r.Repeat]+string(b)))
		}
	}
	return out.String()
}
