package e2e

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The line that `perfgate serve` prints is meant to be pasted into a shell.
func TestQuickStartLineWorks(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	s := start(t, options{})
	pattern := regexp.MustCompile(`curl [^\n]*`)
	waitFor(t, "a line with curl", func() bool { return pattern.MatchString(s.Output()) })
	line := pattern.FindString(s.Output())
	if !strings.Contains(line, "pk_test_") {
		t.Fatalf("no curl line with a test key:\n%s", s.Output())
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	line = strings.Replace(line, "curl ", curl+" -sS -i ", 1)
	out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "200 OK") {
		t.Fatalf("%v\n%s", err, out)
	}
	if !regexp.MustCompile(`(?i)x-ratelimit-remaining: \d+`).Match(out) {
		t.Errorf("no rate limit headers:\n%s", out)
	}
	// The demo key must not outlive the day.
	r := s.manage(200, "GET", "/v1/keys?type=test", nil)
	data, _ := r.JSON["data"].([]any)
	if len(data) != 1 {
		t.Fatalf("%d test keys, want the demo's one", len(data))
	}
	expires, err := time.Parse(time.RFC3339, data[0].(map[string]any)["expires_at"].(string))
	if err != nil || time.Until(expires) > 24*time.Hour {
		t.Errorf("the demo key ends at %v (%v), want within 24 h", expires, err)
	}
}
