package nodetest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Try starts the node and returns nil once it serves. If it ends before, it is taken apart,
// and the error has what it says.
func (n *Node) Try() error {
	n.c.t.Helper()
	n.begin()
	l := n.running()
	end := time.NewTimer(Timeout)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			n.take()
			return fmt.Errorf("it ended: %w", l.err)
		case code := <-l.exit:
			n.kill()
			return fmt.Errorf("it exited with %d: %s", code, l.last("ERROR"))
		case <-end.C:
			return fmt.Errorf("waited %v until it serves: %s", Timeout, l.last("WARN"))
		case <-tick.C:
		}
		if l.proxy == "" || l.admin == "" {
			l.proxy, l.admin = l.bound("proxy listening"), l.bound("admin listening")
			continue
		}
		if h, err := n.open().Readyz(context.Background()); err == nil && h.Status == "ok" {
			return nil
		}
	}
}

// bound is the URL of a listener, "" before it is bound.
func (l *life) bound(msg string) string {
	if all := l.attrs(msg, "addr"); len(all) > 0 {
		return "http://" + all[0]
	}
	return ""
}

// last is the last line of a level.
func (l *Log) last(level string) (text string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, `"level":"`+level+`"`) {
			text = strings.TrimSpace(line)
		}
	}
	return text
}
