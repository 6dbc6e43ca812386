package h1

import (
	"bufio"
	"errors"
	"io"
)

// The bounds of a head, in octets.
const (
	maxMethod     = 32
	maxTarget     = 8 << 10
	maxHead       = 32 << 10 // start line and fields, with their line ends
	maxTrailer    = 4 << 10
	maxFields     = 1000 // lines
	maxEmptyLines = 4    // before a request line
)

// The states of a scanner: the place of the next octet.
const (
	atRequest   = iota // before a request line, where empty lines are skipped
	atRequestCR        // after the CR of such an empty line
	atMethod
	atTarget
	atForm // inside of form
	atReason
	atLineCR // after the CR of a line
	atField  // at the beginning of a field line, or of the last line
	atName
	atValue
	atEndCR // after the CR of the last line
	atEnd
)

// The forms of the parts with a fixed length; # is a digit.
const (
	versionForm = "HTTP/#.#"
	statusForm  = "HTTP/#.# ###"
)

// scanner checks the octets of a head or of a trailer section as they arrive, in
// whatever pieces. The zero value with a bound begins at a request line.
type scanner struct {
	max int // octets of the section

	state  uint8
	empty  uint8  // lines before the request line
	major  byte   // digit of the version
	form   string // of atForm
	part   int    // octets of the method, target or form so far
	size   int    // octets so far
	fields int    // lines so far
}

func requestScanner() scanner           { return scanner{max: maxHead} }
func responseScanner(max int) scanner   { return scanner{max: max, state: atForm, form: statusForm} }
func fieldScanner(max int) scanner      { return scanner{max: max, state: atField} }
func (s *scanner) done() bool           { return s.state == atEnd }
func (s *scanner) begun() bool          { return s.state > atRequestCR }
func (s *scanner) goTo(state uint8) int { s.state, s.part = state, 0; return 1 }

// scan takes octets until the section ends, which done tells, and returns how many.
// After an error the scanner must not be used again.
func (s *scanner) scan(p []byte) (n int, err error) {
	p = p[:min(len(p), s.max-s.size)]
	for n < len(p) && s.state != atEnd {
		var step int
		if s.state < atField {
			step, err = s.start(p[n:])
		} else {
			step, err = s.field(p[n:])
		}
		if err != nil {
			return n, err
		}
		n += step
	}
	s.size += n
	if s.size == s.max && s.state != atEnd {
		return n, errTooLarge
	}
	return n, nil
}

// start takes at least one octet of the start line.
func (s *scanner) start(p []byte) (int, error) {
	c := p[0]
	switch s.state {
	case atRequest:
		if c != '\r' {
			s.goTo(atMethod)
			return 0, nil
		}
		if s.empty++; s.empty > maxEmptyLines {
			return 0, errEmptyLines
		}
		return s.goTo(atRequestCR), nil
	case atRequestCR:
		if c != '\n' {
			return 0, errBareCR
		}
		return s.goTo(atRequest), nil
	case atMethod:
		return s.method(p)
	case atTarget:
		return s.target(p)
	case atForm:
		return s.fixed(c)
	case atReason:
		if n := span(p, inValue); n > 0 {
			return n, nil
		}
		return s.lineEnd(c, errStatusLine)
	}
	if c != '\n' { // atLineCR
		return 0, errBareCR
	}
	return s.goTo(atField), nil
}

func (s *scanner) method(p []byte) (int, error) {
	n := span(p, inToken)
	if s.part += n; s.part > maxMethod {
		return 0, errLongMethod
	}
	switch {
	case n > 0:
		return n, nil
	case p[0] == '\n':
		return 0, errBareLF
	case p[0] != ' ' || s.part == 0:
		return 0, errMethod
	}
	return s.goTo(atTarget), nil
}

func (s *scanner) target(p []byte) (int, error) {
	n := span(p, inTarget)
	if s.part += n; s.part > maxTarget {
		return 0, errLongTarget
	}
	switch c := p[0]; {
	case n > 0:
		return n, nil
	case s.part == 0:
		return 0, errNoTarget
	case c == '\r', c == '\n':
		return 0, errNoVersion
	case c != ' ':
		return 0, errTarget
	}
	s.form = versionForm
	return s.goTo(atForm), nil
}

// fixed takes one octet of the form, or the one after it.
func (s *scanner) fixed(c byte) (int, error) {
	fault := errVersion
	if s.form == statusForm {
		fault = errStatusLine
	}
	if s.part == len(s.form) {
		switch {
		case s.major != '1':
			return 0, errMajor
		case c == ' ' && s.form == statusForm:
			return s.goTo(atReason), nil
		}
		return s.lineEnd(c, fault)
	}
	want := s.form[s.part]
	if want == '#' && (c < '0' || c > '9') || want != '#' && c != want {
		return 0, fault
	}
	if s.part == len("HTTP/") {
		s.major = c
	}
	s.part++
	return 1, nil
}

// field takes at least one octet of a field section.
func (s *scanner) field(p []byte) (int, error) {
	c := p[0]
	switch s.state {
	case atField:
		switch {
		case c == '\r':
			return s.goTo(atEndCR), nil
		case c == '\n':
			return 0, errBareLF
		case c == ' ', c == '\t':
			return 0, errFold
		case octets[c]&inToken == 0:
			return 0, errFieldName
		}
		if s.fields++; s.fields > maxFields {
			return 0, errManyFields
		}
		return s.goTo(atName), nil
	case atName:
		n := span(p, inToken)
		switch {
		case n > 0:
			return n, nil
		case c == ':':
			return s.goTo(atValue), nil
		case c == ' ', c == '\t':
			return 0, errFieldSpace
		case c == '\r', c == '\n':
			return 0, errFieldColon
		}
		return 0, errFieldName
	case atValue:
		if n := span(p, inValue); n > 0 {
			return n, nil
		}
		return s.lineEnd(c, errFieldValue)
	}
	if c != '\n' { // atEndCR
		return 0, errBareCR
	}
	return s.goTo(atEnd), nil
}

// lineEnd takes the CR of a line.
func (s *scanner) lineEnd(c byte, otherwise error) (int, error) {
	switch c {
	case '\r':
		return s.goTo(atLineCR), nil
	case '\n':
		return 0, errBareLF
	}
	return 0, otherwise
}

// readHead reads a section that s has not begun, with its last line. Its names are made
// canonical. The octets after it stay in br. Err is an [*Error], io.EOF before the first octet, io.ErrUnexpectedEOF
// after it, or that of the connection; the text is then the part before it.
func readHead(br *input, s *scanner) (string, error) {
	var spilled []byte // what did not fit into br's buffer
	bare := s.state == atField
	for scanned := 0; ; {
		_, err := br.Peek(scanned + 1)
		p := br.buffered()
		n := 0
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			spilled = append(spilled, p...)
			br.discard(scanned)
			scanned = 0
			continue
		case err == nil:
			n, err = s.scan(p[scanned:])
		case err == io.EOF && s.size > 0:
			err = io.ErrUnexpectedEOF
		}
		scanned += n
		if err == nil && !s.done() {
			continue
		}
		whole := p[:scanned]
		if spilled != nil {
			whole = append(spilled, whole...)
		}
		if err == nil {
			canonicalize(whole, bare)
		}
		text := textOf(whole)
		br.discard(scanned)
		return text, err
	}
}
