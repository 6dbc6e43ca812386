package cluster

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// steppedSource is a file of the package time in a build whose wall clock can be stepped while
// it runs. Its monotonic clock, timers and the machine's clock stay as they are.
const steppedSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// steppedBy is in the file that STEPPED_CLOCK names, which is changed while the program
// runs: by how many nanoseconds Now is ahead of the machine's wall clock.
var steppedBy = func() *int64 {
	path, ok := syscall.Getenv("STEPPED_CLOCK")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open " + path + ": " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map " + path + ": " + err.Error())
	}
	syscall.Close(fd)
	return (*int64)(unsafe.Pointer(&page[0]))
}()

// stepped moves the wall clock of a reading, and leaves its monotonic one.
func stepped(sec int64, nsec int32, mono int64) (int64, int32, int64) {
	at := int64(nsec) + atomic.LoadInt64(steppedBy)
	sec += at / 1e9
	if at %= 1e9; at < 0 {
		sec--
		at += 1e9
	}
	return sec, int32(at), mono
}
`

// stepped builds perfgate with a wall clock that can be stepped. All packages are compiled
// again for it, which takes minutes of a processor the first time. STEPPED_BINARY is the path
// of one that was built before.
var stepped = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("STEPPED_BINARY"); path != "" {
		return path, nil
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	std := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	raw, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return "", err
	}
	const read, now = "runtimeNow()\n\tif mono == 0 {", "stepped(runtimeNow())\n\tif mono == 0 {"
	dir := harness.Work()
	files := map[string]string{"time.go": strings.Replace(string(raw), read, now, 1), "stepped.go": steppedSource}
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(dir, "stepped-"+name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(std, name)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list, path := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "perfgate-stepped")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	return path, harness.Build(path, ".", "github.com/perfgate/perfgate", "-overlay", list)
})

// wallClock is that of one process.
type wallClock struct{ file *os.File }

// stepClocks has the processes of c, which do not run, use clocks that can be stepped.
func stepClocks(t testing.TB, c *cluster) (clocks []wallClock) {
	t.Helper()
	program, err := stepped()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.procs {
		path := filepath.Join(p.Dir, "clock")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		k := wallClock{f}
		k.step(t, 0)
		clocks = append(clocks, k)
		p.Argv[0] = program
		p.Env = append(p.Env, "STEPPED_CLOCK="+path)
	}
	return clocks
}

// shows waits until a node's answers carry a date that is ahead by so much: a step that the
// program does not see would prove nothing.
func shows(t testing.TB, n endpoint, by time.Duration) {
	t.Helper()
	harness.Await(t, readyLimit, n.name+" to tell another time", func() error {
		r, err := within(2*time.Second, "GET", n.admin+"/livez", nil, nil)
		if err != nil {
			return err
		}
		date, err := http.ParseTime(r.Header.Get("Date"))
		if err != nil {
			return err
		}
		if off := time.Until(date) - by; off.Abs() > 5*time.Second {
			return fmt.Errorf("it tells %v, which is not %v ahead", date, by)
		}
		return nil
	})
}

// step puts the clock ahead of the machine's by so much, or behind. The eight bytes are
// written over those of before in one call: the process has them mapped.
func (k wallClock) step(t testing.TB, by time.Duration) {
	t.Helper()
	raw := binary.NativeEndian.AppendUint64(nil, uint64(by))
	if _, err := k.file.WriteAt(raw, 0); err != nil {
		t.Fatal(err)
	}
}
