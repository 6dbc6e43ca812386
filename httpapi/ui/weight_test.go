package ui_test

import (
	"os"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// TestFirstPageIsLight: the busiest pages and everything that they load have less than
// 150 kB, uncompressed.
func TestFirstPageIsLight(t *testing.T) {
	const most = 150_000
	g := newRig(t)
	for range 50 {
		id, _ := g.Key("live", "read", "write")
		g.observe(id, 7, 1, nil)
	}
	files, err := os.ReadDir("assets")
	apitest.Must(t, err)
	assets := 0
	for _, f := range files {
		info, err := f.Info()
		apitest.Must(t, err)
		assets += int(info.Size())
	}
	for _, path := range []string{"/", "/keys", "/keys/new", "/usage", "/usage?group_by=country"} {
		if n := len(g.get(path).want(200).raw) + assets; n > most || assets < 10_000 {
			t.Errorf("%s has %d bytes with its assets, of which they are %d; at most %d", path, n, assets, most)
		} else {
			t.Logf("%s: %d bytes", path, n)
		}
	}
}
