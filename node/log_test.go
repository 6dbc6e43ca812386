package node

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestTextLog(t *testing.T) {
	var b bytes.Buffer
	logger, level := NewLogger(&b, config.Log{Level: "info", Format: "text"})
	for _, tt := range []struct {
		log  func()
		want string
	}{
		{func() { logger.Info("proxy listening", "addr", "127.0.0.1:8080") }, `INFO  proxy listening addr=127.0.0.1:8080`},
		{func() { logger.Warn("no attributes") }, `WARN  no attributes`},
		{func() { logger.Error("a", "error", "two words") }, `ERROR a error="two words"`},
		{func() { logger.With("n", 1).WithGroup("g").Info("a", "x", 2) }, `INFO  a n=1 g.x=2`},
		{func() { logger.Info("one\nINFO two") }, `INFO  one INFO two`},
		{func() { logger.Info("a", "msg", "kept", "level", 7, "time", "now") }, `INFO  a msg=kept level=7 time=now`},
		{func() { logger.Debug("hidden") }, ``},
	} {
		b.Reset()
		tt.log()
		got := strings.TrimSuffix(b.String(), "\n")
		if tt.want != "" {
			stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z `).FindString(got)
			if stamp == "" {
				t.Errorf("no time in %q", got)
			}
			got = strings.TrimPrefix(got, stamp)
		}
		if got != tt.want {
			t.Errorf("the log says %q, want %q", got, tt.want)
		}
	}
	level.Set(slog.LevelDebug)
	logger.Debug("shown now")
	if !strings.Contains(b.String(), "DEBUG shown now") {
		t.Errorf("after the level has moved: %q", b.String())
	}
}

func TestJSONLog(t *testing.T) {
	var b bytes.Buffer
	logger, _ := NewLogger(&b, config.Log{Level: "warn", Format: "json"})
	logger.Info("hidden")
	logger.Warn("proxy listening", "addr", ":1")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["msg"] != "proxy listening" || line["addr"] != ":1" {
		t.Errorf("%q: %v", b.String(), err)
	}
}
