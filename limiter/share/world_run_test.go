package share

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// play is one history; the error says which step broke which rule.
func play(draw func(int) int, mut mutation, steps int) (*world, error) {
	n := []int{2, 3, 3, 5, 9}[draw(5)]
	burst := []int64{1, 3, 6, 12, 24, 60, 600}[draw(7)]
	rate := []int64{6, 60, 600, 6000}[draw(4)]
	w := newWorld(n, Minute(rate, burst), draw, mut)
	for i := range steps {
		w.step(true)
		if err := w.check(); err != nil {
			return w, fmt.Errorf("step %d, %d nodes, burst %d, rate %d: %w", i, n, burst, rate, err)
		}
	}
	return w, nil
}

func seeded(seed uint64) func(int) int {
	r := rand.New(rand.NewPCG(seed, 0))
	return r.IntN
}

// Whatever is lost, late or repeated, and whoever crashes: the parts are at most the
// whole, and the tokens at most those of one bucket that was fed the same requests.
func TestNeverMoreThanOneBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }
		if _, err := play(draw, sound, 300); err != nil {
			t.Fatal(err)
		}
	})
}

// The same with long histories from seeds.
func TestNeverMoreThanOneBucketLong(t *testing.T) {
	runs := uint64(150)
	if os.Getenv("PERFGATE_TORTURE") != "" {
		runs = 20_000
	}
	admitted := 0
	for seed := range runs {
		w, err := play(seeded(seed), sound, 4000)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		admitted += w.admitted
	}
	if admitted < int(runs)*20 {
		t.Errorf("admitted %d in %d runs: the histories test nothing", admitted, runs)
	}
}

// Each mistake is found.
func TestMutationsAreFound(t *testing.T) {
	for mut := longerLease; mut < mutations; mut++ {
		found := 0
		for seed := range uint64(400) {
			if _, err := play(seeded(seed), mut, 3000); err != nil {
				t.Logf("%s: seed %d: %v", mut, seed, err)
				found++
				break
			}
		}
		if found == 0 {
			t.Errorf("%s: not found", mut)
		}
	}
}
