package h2guard

import "encoding/binary"

// The types of frames (RFC 9113, section 6).
const (
	typeData         = 0x0
	typeHeaders      = 0x1
	typePriority     = 0x2
	typeReset        = 0x3
	typeSettings     = 0x4
	typePing         = 0x6
	typeGoAway       = 0x7
	typeWindowUpdate = 0x8
	typeContinuation = 0x9
)

const (
	flagEndStream  = 0x1 // of DATA and HEADERS
	flagEndHeaders = 0x4
	flagPadded     = 0x8
)

// The error codes that matter here (RFC 9113, section 7).
const (
	codeNone     = 0x0
	codeInternal = 0x2
	codeCancel   = 0x8
	codeCalm     = 0xb // ENHANCE_YOUR_CALM
)

const (
	headerLen  = 9
	prefaceLen = 24 // RFC 9113, section 3.4
)

// frame is the header of a frame, and the first octets of its payload where they matter.
type frame struct {
	typ, flags byte
	stream     uint32
	length     int    // of the payload
	code       uint32 // of RST_STREAM
	padding    int    // of DATA: octets of the payload that are none of the body
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// parser finds the frames in the octets of one direction. Its zero value begins at a
// frame's header.
type parser struct {
	head [headerLen + 4]byte
	have int // octets of head that are there
	left int // octets of the payload that are still to pass

	heading bool // a header block has begun and is not complete
	ending  bool // the frame under way is the last of the block
}

// between reports whether the octets so far end with a whole frame.
func (p *parser) between() bool { return p.have == 0 && p.left == 0 }

// short reports whether a frame is under way that has few octets, as all have that a flood
// makes a server send.
func (p *parser) short() bool {
	switch {
	case p.have > 0:
		return true
	case p.left == 0:
		return false
	}
	return p.head[3] > typeHeaders && p.head[3] != typeContinuation && p.length() <= 64
}

// next takes octets off b up to the end of a frame's header. It returns the rest of b, and
// whether f has been found.
func (p *parser) next(b []byte) (f frame, rest []byte, ok bool) {
	if p.left > 0 {
		n := min(p.left, len(b))
		p.left -= n
		p.pass()
		return f, b[n:], false
	}
	need := headerLen
	if p.have >= headerLen {
		need += p.extra()
	}
	n := copy(p.head[p.have:need], b)
	p.have, b = p.have+n, b[n:]
	if p.have < need || need == headerLen && p.extra() > 0 {
		return f, b, false
	}
	f = p.frame()
	p.left, p.have = f.length-(p.have-headerLen), 0
	switch f.typ {
	case typeHeaders, typeContinuation:
		p.heading, p.ending = true, f.has(flagEndHeaders)
	}
	p.pass()
	return f, b, true
}

// pass notes the end of a header block, if no octet of the frame is left.
func (p *parser) pass() {
	if p.left == 0 && p.ending {
		p.heading, p.ending = false, false
	}
}

func (p *parser) length() int {
	return int(p.head[0])<<16 | int(p.head[1])<<8 | int(p.head[2])
}

// extra is the number of octets of the payload that matter.
func (p *parser) extra() int {
	switch typ, padded := p.head[3], p.head[4]&flagPadded != 0; {
	case typ == typeData && padded:
		return min(1, p.length())
	case typ == typeReset:
		return min(4, p.length())
	}
	return 0
}

// frame is the frame whose header, and as much as matters after it, is there.
func (p *parser) frame() frame {
	f := frame{typ: p.head[3], flags: p.head[4], stream: binary.BigEndian.Uint32(p.head[5:]) &^ (1 << 31), length: p.length()}
	switch {
	case f.typ == typeReset:
		f.code = binary.BigEndian.Uint32(p.head[headerLen:])
	case f.typ == typeData && f.has(flagPadded):
		f.padding = 1 + int(p.head[headerLen])
	}
	return f
}

// goAway is a GOAWAY frame (RFC 9113, section 6.8).
func goAway(last, code uint32, debug string) []byte {
	b := []byte{0, 0, byte(8 + len(debug)), typeGoAway, 0, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, debug...)
}
