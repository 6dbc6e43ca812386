package h1

import (
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Texts stay as they are while others are made, by whatever goroutine.
func TestTextOf(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var texts, want []string
			for i := range 2000 {
				w := strings.Repeat(string(rune('a'+(g+i)%26)), i*7%(textBlock/2))
				p := []byte(w)
				texts, want = append(texts, textOf(p)), append(want, w)
				clear(p) // a text shares no memory with its octets
			}
			for i := range texts {
				if texts[i] != want[i] {
					t.Errorf("text %d has changed: %.20q…, want %.20q…", i, texts[i], want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestTextOfAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, p := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, textBlock/2), 0, 20).Draw(t, "octets") {
			if got := textOf(p); got != string(p) {
				t.Fatalf("%q became %q", p, got)
			}
		}
	})
}

func TestTrimBlanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune(" \ta\u00a0\n")), 0, 6, -1).Draw(t, "text")
		if got, want := trimBlanks(text), strings.Trim(text, " \t"); got != want {
			t.Fatalf("%q became %q, want %q", text, got, want)
		}
	})
}
