package nodetest_test

import (
	"flag"
	"os"
	"testing"
)

// atOnce is how many tests run at a time; under the race detector, where a node
// needs ten times the processor, fewer do, or leaders would lose leadership.
var atOnce = "6"

// TestMain lets more tests run at a time than there are processors: they wait,
// for leases to end and for nodes to be trusted.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == "2" {
		flag.Set("test.parallel", atOnce)
	}
	os.Exit(m.Run())
}
