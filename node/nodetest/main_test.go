package nodetest_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run at a time than there are processors: they wait,
// for leases to end and for nodes to be trusted.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == "2" {
		flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}
