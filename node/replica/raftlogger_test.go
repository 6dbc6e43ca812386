package replica_test

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store/logtest"
)

func TestRaftLogger(t *testing.T) {
	for level, lines := range map[slog.Level]map[string]int{
		slog.LevelInfo: {"below": 0, "heartbeat": 0, "level=ERROR msg=failed": 1, "n2": 0, "decode": 0, "level=ERROR": 2},
		slog.LevelDebug: {
			`level=DEBUG msg="below the level" from=raft`: 1, "level=ERROR msg=failed": 1,
			`level=DEBUG msg="failed to heartbeat to" from=raft "backoff time"=1s peer=n2`: 1, `level=DEBUG msg="failed to decode`: 1,
			`level=ERROR msg=broken from=raft part="1 of 2" took=1s`:         1,
			`level=DEBUG msg="heartbeat timeout" from=raft term=7 error=why`: 1,
		},
	} {
		var log logtest.Log
		l := replica.NewRaftLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})))
		l.Info("below the level")
		l.With("term", 7).Named("sub").Warn("heartbeat timeout", "error", errors.New("why"))
		l.Error("failed")
		l.Error("failed to heartbeat to", "backoff time", time.Second, "peer", "n2")
		l.Error("failed to decode incoming command", "error", io.EOF)
		l.Error("broken", "part", hclog.Fmt("%d of %d", 1, 2), "took", time.Second)
		for text, want := range lines {
			if got := log.Count(text); got != want {
				t.Errorf("at %v %q is there %d times, want %d:\n%s", level, text, got, want, log.String())
			}
		}
	}
}

// Raft asks for the level before it makes a line; the level is slog's alone.
func TestRaftLoggerLevels(t *testing.T) {
	for level, want := range map[slog.Level]hclog.Level{slog.LevelDebug: hclog.Debug, slog.LevelInfo: hclog.Error, slog.LevelError: hclog.Error} {
		var log logtest.Log
		l := replica.NewRaftLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})))
		l.SetLevel(hclog.Off)
		debug := want == hclog.Debug
		if l.GetLevel() != want || !l.IsError() || l.IsTrace() != debug || l.IsDebug() != debug || l.IsInfo() != debug || l.IsWarn() != debug {
			t.Errorf("at %v it has level %v", level, l.GetLevel())
		}
		l.StandardLogger(nil).Print("from elsewhere")
		if log.Has("level=DEBUG msg=\"from elsewhere\"") != debug {
			t.Errorf("at %v: %s", level, log.String())
		}
	}
	l := replica.NewRaftLogger(slog.New(slog.DiscardHandler)).With("a", 1).With("b", 2).With("c", 3)
	if one, two := l.With("d", 4), l.With("e", 5); len(l.ImpliedArgs()) != 6 || one.ImpliedArgs()[6] != "d" || two.ImpliedArgs()[6] != "e" {
		t.Errorf("arguments %v, %v", one.ImpliedArgs(), two.ImpliedArgs())
	}
	if sub := l.Named("net"); l.Name() != "raft" || sub.Name() != "raft.net" || sub.ResetNamed("x").Name() != "x" {
		t.Errorf("name %q", l.Named("net").Name())
	}
}
