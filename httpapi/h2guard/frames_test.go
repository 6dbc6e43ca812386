package h2guard

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// written are frames as golang.org/x/net writes them, and what a parser is to find.
func written() ([]byte, []frame) {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("head"), EndStream: true})
	f.WriteContinuation(1, false, nil)
	f.WriteContinuation(1, true, []byte("more"))
	f.WriteDataPadded(3, false, []byte("body"), []byte{0, 0, 0})
	f.WriteDataPadded(3, false, nil, []byte{})
	f.WriteData(3, true, nil)
	f.WriteRSTStream(5, http2.ErrCodeFlowControl)
	f.WriteRawFrame(0x42, 0xff, 1<<31|7, make([]byte, 300))
	f.WriteRawFrame(typeReset, 0, 9, []byte{1})
	f.WritePing(false, [8]byte{})
	return b.Bytes(), []frame{
		{typ: typeSettings, length: 6},
		{typ: typeHeaders, flags: flagEndStream, stream: 1, length: 4},
		{typ: typeContinuation, stream: 1},
		{typ: typeContinuation, flags: flagEndHeaders, stream: 1, length: 4},
		{typ: typeData, flags: flagPadded, stream: 3, length: 8, padding: 4},
		{typ: typeData, flags: flagPadded, stream: 3, length: 1, padding: 1},
		{typ: typeData, flags: flagEndStream, stream: 3},
		{typ: typeReset, stream: 5, length: 4, code: 3},
		{typ: 0x42, flags: 0xff, stream: 7, length: 300},
		{typ: typeReset, stream: 9, length: 1},
		{typ: typePing, length: 8},
	}
}

// A parser finds the same frames however the octets are cut.
func TestParser(t *testing.T) {
	octets, want := written()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var p parser
		var got []frame
		heading := 0 // octets after which a head is under way
		for rest := octets; len(rest) > 0; {
			n := min(1+random.IntN(1+random.IntN(40)), len(rest))
			for b := rest[:n]; len(b) > 0; {
				f, left, found := p.next(b)
				if b = left; found {
					if f.typ == typeReset && f.length < 4 {
						f.code = 0 // cut off
					}
					got = append(got, f)
				}
			}
			if rest = rest[n:]; p.heading {
				heading++
			}
		}
		if !slices.Equal(got, want) || !p.between() || p.heading {
			t.Fatalf("seed %d: %+v, between %v, heading %v; want %+v", seed, got, p.between(), p.heading, want)
		}
	}
}

// A head is under way from its first octets to its last.
func TestHeading(t *testing.T) {
	octets, _ := written()
	from := headerLen + 6                                  // after SETTINGS
	to := from + headerLen + 4 + headerLen + headerLen + 4 // HEADERS and two of CONTINUATION
	var p parser
	for i := range octets {
		p.next(octets[i : i+1])
		if after := i + 1; p.heading != (after >= from+headerLen && after < to) {
			t.Errorf("after %d octets: heading %v", after, p.heading)
		}
	}
}

// Whatever comes, the parser takes all of it and finds no frame in the payload of another.
func FuzzParser(f *testing.F) {
	octets, _ := written()
	f.Add(octets, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var whole, parts parser
		count := func(p *parser, b []byte) (n int) {
			for len(b) > 0 {
				f, rest, found := p.next(b)
				if len(rest) == len(b) && !found {
					t.Fatal("no octet is taken")
				}
				if b = rest; found {
					n++
					if f.length < 0 || f.length >= 1<<24 || p.left > f.length {
						t.Fatalf("%+v, %d left", f, p.left)
					}
				}
			}
			return n
		}
		n, m := count(&whole, b), 0
		for len(b) > 0 {
			k := min(len(b), 1+int(cut))
			m += count(&parts, b[:k])
			b = b[k:]
		}
		if n != m || whole.between() != parts.between() || whole.heading != parts.heading {
			t.Errorf("%d frames whole, %d in parts", n, m)
		}
	})
}
