package logtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// Goroutines write whole lines, and a reader finds those with all of its texts.
func TestLog(t *testing.T) {
	var l Log
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { l.Logger().Debug("hello", "i", i, "odd", i%2 == 1) })
	}
	wg.Wait()
	if n := l.Count("msg=hello"); n != 8 {
		t.Errorf("%d lines, want 8:\n%s", n, l.String())
	}
	if got := l.Lines("level=DEBUG", "odd=true"); len(got) != 4 {
		t.Errorf("%q", got)
	}
	if got := l.Lines("i=3", "odd=false"); len(got) != 0 || l.Has("i=8") || !l.Has("i=7") {
		t.Errorf("%q", got)
	}
	var m Log
	fmt.Fprint(&m, "a b\nb c\n")
	if got := m.Lines("b", "c"); !slices.Equal(got, []string{"b c\n"}) {
		t.Errorf("%q", got)
	}
}
