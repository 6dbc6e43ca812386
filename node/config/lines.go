package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lines has the line of each key of a file, by the key's full name:
// "proxy.routes[1].path". Tables and elements of lists have one too.
type lines map[string]int

// of is the line of key, or of the innermost table or list around it that the file
// has; 0 is none.
func (l lines) of(key string) int {
	for key != "" {
		if n := l[key]; n > 0 {
			return n
		}
		key = key[:max(strings.LastIndexByte(key, '.'), strings.LastIndexByte(key, '['), 0)]
	}
	return 0
}

// parseLines finds the lines of a document that is valid TOML. The parser keeps no
// state of tables, so the meaning of a key follows from those before it.
func parseLines(doc []byte) lines {
	w := lineWalker{found: lines{}, elements: map[string]int{}}
	w.p.Reset(doc)
	for i, c := range doc {
		if c == '\n' {
			w.ends = append(w.ends, i)
		}
	}
	table := ""
	for w.p.NextExpression() {
		e := w.p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = w.name("", e, false)
		case unstable.ArrayTable:
			table = w.name("", e, true)
		case unstable.KeyValue:
			w.pair(table, e)
		}
	}
	return w.found
}

// meaningFault is the first line up to which doc, which has the syntax of TOML, has no
// meaning: a key or a table is in it twice. The decoder does not say where.
func meaningFault(doc []byte, sound func([]byte) bool) int {
	var starts []int // offsets of the lines on which an expression begins
	var p unstable.Parser
	p.Reset(doc)
	for p.NextExpression() {
		it := p.Expression().Key()
		if it.Next() {
			at := int(it.Node().Raw.Offset)
			starts = append(starts, bytes.LastIndexByte(doc[:at], '\n')+1)
		}
	}
	n := sort.Search(len(starts), func(i int) bool {
		end := len(doc)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		return !sound(doc[:end])
	})
	if n == len(starts) {
		return 0
	}
	return bytes.Count(doc[:starts[n]], []byte("\n")) + 1
}

type lineWalker struct {
	p        unstable.Parser
	ends     []int // offsets of the line feeds
	found    lines
	elements map[string]int // of arrays of tables: elements so far
}

func (w *lineWalker) mark(name string, r unstable.Range) {
	if r.Length == 0 || w.found[name] > 0 {
		return
	}
	before, _ := slices.BinarySearch(w.ends, int(r.Offset))
	w.found[name] = before + 1
}

// name is the full name of the key of e below table. element begins another element
// of the array of tables of that name.
func (w *lineWalker) name(table string, e *unstable.Node, element bool) string {
	name := table
	for it := e.Key(); it.Next(); {
		name = strings.TrimPrefix(name+"."+string(it.Node().Data), ".")
		if n := w.elements[name]; n > 0 && !(element && it.IsLast()) {
			name = fmt.Sprintf("%s[%d]", name, n-1)
		}
		if element && it.IsLast() {
			w.mark(name, it.Node().Raw)
			w.elements[name]++
			name = fmt.Sprintf("%s[%d]", name, w.elements[name]-1)
		}
		w.mark(name, it.Node().Raw)
	}
	return name
}

func (w *lineWalker) pair(table string, e *unstable.Node) {
	w.value(w.name(table, e, false), e.Value())
}

func (w *lineWalker) value(name string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			w.pair(name, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			element := fmt.Sprintf("%s[%d]", name, i)
			w.mark(element, it.Node().Raw)
			w.value(element, it.Node())
			i++
		}
	}
}

// saveUTF8 ends the faults of a file's encoding.
const saveUTF8 = "; save it as UTF-8 without a byte order mark"

// byteOrderMark begins a file that some editors save as UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

// encodingFault is the reason for which a file is not UTF-8, or nil: editors write other
// encodings that look the same.
func encodingFault(doc []byte) error {
	switch {
	case bytes.HasPrefix(doc, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(doc, []byte("\x00\x00\xfe\xff")):
		return errors.New("it is encoded in UTF-32" + saveUTF8)
	case bytes.HasPrefix(doc, []byte("\xff\xfe")), bytes.HasPrefix(doc, []byte("\xfe\xff")):
		return errors.New("it is encoded in UTF-16" + saveUTF8)
	case len(doc) >= 2 && (doc[0] == 0) != (doc[1] == 0):
		return errors.New("it looks like UTF-16 without a byte order mark; save it as UTF-8")
	}
	for i, n := 0, 1; i < len(doc); {
		r, size := utf8.DecodeRune(doc[i:])
		switch {
		case r == 0:
			return fmt.Errorf("line %d: there is a NUL character; save the file as UTF-8 text", n)
		case r == utf8.RuneError && size == 1:
			return fmt.Errorf("line %d: a character is not encoded in UTF-8; save the file as UTF-8", n)
		case r == '\n':
			n++
		}
		i += size
	}
	return nil
}
