package nodetest

import (
	"bytes"
	"encoding/json"
	"runtime/pprof"
	"strings"
	"sync"
	"time"
)

// Log keeps the log of a node, a JSON object a line.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newLog() *Log { return &Log{} }

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count is how often text is in the log; quotes stand in it as in a message.
func (l *Log) Count(text string) int {
	raw, _ := json.Marshal(text)
	return strings.Count(l.String(), strings.Trim(string(raw), `"`))
}

// attrs are the values of an attribute in the lines with message msg.
func (l *Log) attrs(msg, name string) (values []string) {
	for line := range strings.Lines(l.String()) {
		var v map[string]any
		if json.Unmarshal([]byte(line), &v) == nil && v["msg"] == msg {
			s, _ := v[name].(string)
			values = append(values, s)
		}
	}
	return values
}

func (l *Log) tail(n int) string {
	lines := strings.SplitAfter(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// label marks the goroutines of a cluster's nodes: a goroutine that one of them
// starts inherits it.
const label = "nodetest"

// unanswered is in the stack of a goroutine that waits for one of Raft's futures.
// Raft does not answer all of them when it stops (raft #498), and nothing wakes these.
const unanswered = "raft.(*deferError).Error"

// leaked waits until no goroutine has the label id, and returns the stacks of
// those that are left after limit.
func leaked(id string, limit time.Duration) string {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		var all bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&all, 1)
		var mine []string
		for stack := range strings.SplitSeq(all.String(), "\n\n") {
			raw, _ := json.Marshal(id)
			if strings.Contains(stack, `# labels: {"`+label+`":`+string(raw)) && !strings.Contains(stack, unanswered) {
				mine = append(mine, stack)
			}
		}
		if len(mine) == 0 {
			return ""
		}
		if time.Now().After(end) {
			return strings.Join(mine, "\n\n")
		}
	}
}
