package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
	"github.com/perfgate/perfgate/httpapi/apikey"
)

// memoryGroup makes a control group with a bound of bytes on its memory and returns its
// folder. It needs root, and either version of control groups.
func memoryGroup(t *testing.T, bytes int) string {
	t.Helper()
	for _, v := range []struct{ mount, bound string }{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}} {
		dir := filepath.Join(v.mount, fmt.Sprintf("perfgate-test-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) }) // after the process has ended: cleanups run last first
		if _, err := os.Stat(filepath.Join(dir, v.bound)); err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, v.bound), []byte(strconv.Itoa(bytes)), 0o600); err == nil {
			return dir
		}
	}
	t.Skip("no control group for memory can be made here")
	return ""
}

// A container of 256 MiB is enough: the node fits its memory to it, and takes
// thousands of keys, the largest imports at once, and many made-up keys.
func TestSmallContainer(t *testing.T) {
	group := memoryGroup(t, 256<<20)
	up, _ := echo(t)
	s := prepare(t, options{upstream: up})
	s.Argv = append([]string{"sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group}, s.Argv...)
	s.run()
	if log := s.Output(); !strings.Contains(log, "memory limit limit=224MiB source=cgroup") {
		t.Errorf("the log does not tell the memory:\n%s", log)
	}
	s.roomy()
	keys := s.fill(harness.Size("KEYS", 10_000))
	var large strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&large, "{\"name\":\"large-%d\",\"type\":\"live\",\"key\":%q,\"metadata\":{\"note\":%q}}\n", i, apikey.New(apikey.LivePrefix), strings.Repeat("x", 400))
		large.WriteString(strings.Repeat(" ", 1000) + "\n")
	}
	var wg sync.WaitGroup
	for range 4 { // the first one makes the keys, each of the others finds them taken, or no room
		wg.Go(func() {
			r, err := try("POST", s.admin+"/v1/keys/import", as(s.operator), large.String())
			if err != nil || r.StatusCode != 200 && r.StatusCode != 503 {
				t.Errorf("an import: %v, %v", r, err)
			}
		})
	}
	wg.Wait()
	for _, use := range []struct {
		status     int
		credential func(i int) string
	}{{200, func(i int) string { return keys[i] }}, {401, func(int) string { return apikey.New(apikey.LivePrefix) }}} {
		pipes(t, 64, len(keys), s.proxy, func(i int) (string, int) {
			return harness.RawRequest("GET", s.proxy, "/", use.credential(i), ""), use.status
		})
	}
	if err := s.Ended(); err != nil {
		t.Fatalf("%v\n%s", err, s.Output())
	}
	if r := do(t, "GET", s.proxy+"/readyz", nil, nil); r.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %v", r)
	}
	t.Logf("%d MB resident", s.rss()/1e6)
}
