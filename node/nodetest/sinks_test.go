package nodetest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/nodetest"
)

// A leader that is killed beneath a sink takes no change with it: the next one goes on from a place
// that the receiver had, and every change reaches the receiver, also those between the two.
func TestSinkOverLeaders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.ndjson") // of all nodes: lines are appended whole
	c := nodetest.Start(t, 3, func(_ int, s *nodetest.Setup) { s.File = fmt.Sprintf("[[audit.sinks]]\nurl = \"file:%s\"\n", path) })
	var keys []string
	create := func(n int, name string) {
		id, _ := c.Key(n, name)
		keys = append(keys, id)
	}
	arrived := func() map[string]int {
		raw, _ := os.ReadFile(path)
		got := map[string]int{}
		for line := range strings.Lines(string(raw)) {
			var e struct {
				Action string `json:"action"`
				Key    string `json:"key_id"`
			}
			if json.Unmarshal([]byte(line), &e) == nil && e.Action == "key.create" {
				got[e.Key]++
			}
		}
		return got
	}
	await := func() {
		t.Helper()
		c.Until("all changes at the sink", func() error {
			got := arrived()
			for _, id := range keys {
				if got[id] == 0 {
					return errors.New(id + " is missing")
				}
			}
			return nil
		})
	}
	for round := range 2 {
		leader := c.Leader()
		for i := range 5 {
			create(leader, fmt.Sprint("before ", round, i))
		}
		if round == 0 {
			await() // else the next leader has to send them
		}
		c.Kill(leader)
		next := c.Leader()
		for i := range 5 {
			create(next, fmt.Sprint("between ", round, i))
		}
		await()
		c.Restart(leader)
		c.WaitHealthy()
	}
}
