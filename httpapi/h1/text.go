package h1

import (
	"strings"
	"sync"
)

// textBlock is the size of the blocks that the texts of heads are made in, in octets: a
// block serves a dozen heads of common size with one allocation. Who keeps a part of a
// text keeps the whole block.
const textBlock = 4 << 10

// block is memory for texts. What was written is never changed.
type block struct{ strings.Builder }

var blocks = sync.Pool{New: func() any { return new(block) }}

// textOf is p as a text.
func textOf(p []byte) string {
	if len(p) > textBlock/4 {
		return string(p)
	}
	b := blocks.Get().(*block)
	if b.Cap()-b.Len() < len(p) {
		b.Reset()
		b.Grow(textBlock)
	}
	from := b.Len()
	b.Write(p)
	text := b.String()[from:]
	blocks.Put(b)
	return text
}

// trimBlanks is text without the blanks at its ends. [strings.Trim] makes a table of what it
// drops, for each of the thirty values of a request and its answer.
func trimBlanks(text string) string {
	for text != "" && isBlank(text[0]) {
		text = text[1:]
	}
	for text != "" && isBlank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
