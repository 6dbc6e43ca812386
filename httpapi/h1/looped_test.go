package h1

import (
	"flag"
	"os"
	"runtime"
	"testing"

	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// loops serve the servers of the tests in their second run; nil in the first one.
var loops *loop.Group

// TestMain runs all tests twice: connections are served by goroutines, and then by loops
// from the first octet on. Fuzzing and benchmarks run once.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && canSendRaw && flag.Lookup("test.fuzz").Value.String()+flag.Lookup("test.bench").Value.String() == "" {
		var err error
		if loops, err = loop.Start(runtime.GOMAXPROCS(0)); err != nil {
			panic(err)
		}
		loops.Early = true
		code = m.Run()
		loops.Close()
	}
	os.Exit(code)
}

// needsGoroutines skips a test that looks at the goroutines of connections that wait, in the run
// where loops have those connections.
func needsGoroutines(t *testing.T) {
	t.Helper()
	if loops != nil {
		t.Skip("connections that wait have no goroutine")
	}
}
