package nodetest_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
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

// campaign is how many trials a campaign makes, few by default, and their source of chance.
// PERFGATE_TORTURE=1 makes many, another number that many; PERFGATE_SEED repeats a run.
func campaign(t *testing.T, few, many int) (trials int, chance *rand.Rand) {
	trials = few
	if s := os.Getenv("PERFGATE_TORTURE"); s != "" {
		trials = many
		if n, _ := strconv.Atoi(s); n > 1 {
			trials = n
		}
	}
	seed := rand.Uint64()
	if s := os.Getenv("PERFGATE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PERFGATE_SEED=%d", seed)
	return trials, rand.New(rand.NewPCG(seed, 0))
}
