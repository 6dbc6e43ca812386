package logtest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// Log is a log in memory, for any goroutine. The zero value is empty.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns the whole text.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Count returns how often s is in the text.
func (l *Log) Count(s string) int { return strings.Count(l.String(), s) }

// Has reports whether s is in the text.
func (l *Log) Has(s string) bool { return l.Count(s) > 0 }

// Lines returns the lines that hold all of the texts.
func (l *Log) Lines(texts ...string) (out []string) {
	for line := range strings.Lines(l.String()) {
		holds := true
		for _, s := range texts {
			holds = holds && strings.Contains(line, s)
		}
		if holds {
			out = append(out, line)
		}
	}
	return out
}

// Logger writes all levels into the log.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
