package node

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/perfgate/perfgate/node/config"
)

// NewLogger returns the log configured by c, written to w, and the level, which a
// reload may change.
func NewLogger(w io.Writer, c config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(logLevel(c))
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), level
	}
	return slog.New(newTextHandler(w, level)), level
}

func logLevel(c config.Log) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// textHandler writes lines for people, "TIME LEVEL message key=value …": the
// message stands as it is, where slog's own handler would quote it.
type textHandler struct {
	out   *textOutput
	attrs slog.Handler // writes " key=value …\n" to out.line
}

type textOutput struct {
	mu   sync.Mutex
	line bytes.Buffer
	w    io.Writer
}

func newTextHandler(w io.Writer, level slog.Leveler) *textHandler {
	out := &textOutput{w: w}
	return &textHandler{out, slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Value.Kind() != slog.KindGroup && builtin(a) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// builtin distinguishes the three attributes that the handler itself writes first
// from a caller's of the same name.
func builtin(a slog.Attr) bool {
	switch a.Key {
	case slog.TimeKey:
		return a.Value.Kind() == slog.KindTime && a.Value.Time().IsZero()
	case slog.LevelKey:
		_, ok := a.Value.Any().(slog.Level)
		return ok
	case slog.MessageKey:
		return a.Value.Kind() == slog.KindString && a.Value.String() == ""
	}
	return false
}

func (h *textHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.attrs.Enabled(ctx, l)
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{h.out, h.attrs.WithAttrs(attrs)}
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{h.out, h.attrs.WithGroup(name)}
}

// Handle writes one line with one Write.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	b := &h.out.line
	b.Reset()
	if !r.Time.IsZero() {
		b.WriteString(r.Time.UTC().Format("2006-01-02T15:04:05.000Z "))
	}
	level := r.Level.String()
	b.WriteString(level + strings.Repeat(" ", max(1, 6-len(level))) + oneLine(r.Message) + " ")

	rest := slog.NewRecord(time.Time{}, r.Level, "", r.PC)
	r.Attrs(func(a slog.Attr) bool { rest.AddAttrs(a); return true })
	if err := h.attrs.Handle(ctx, rest); err != nil {
		return err
	}
	line := bytes.TrimRight(b.Bytes(), " \n")
	_, err := h.out.w.Write(append(line, '\n'))
	return err
}

// oneLine keeps a message from forging a second line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// lockedWriter takes one Write at a time: the log, the access log and the demo
// share the output.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
