package geotest

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
)

// Types of the format's data section.
const (
	typeText   = 2
	typeUint32 = 6
	typeMap    = 7
)

// tree is a search tree of the format: in each node the record for a next bit of 0 and
// for one of 1.
type tree struct{ nodes [][2]int }

const empty = -1 // a record without data; those below it are countries

// Database is one with the country of each prefix. Projects have the code in different
// places: nested is "iso_code" in "country", as MaxMind's have it, else it is "country_code".
func Database(places map[netip.Prefix]string, nested bool) []byte {
	t := &tree{nodes: [][2]int{{empty, empty}}}
	var data bytes.Buffer
	offsets := map[string]int{}
	for _, p := range slices.SortedFunc(maps.Keys(places), func(a, b netip.Prefix) int { return a.Bits() - b.Bits() }) {
		code := places[p]
		if _, ok := offsets[code]; !ok {
			offsets[code] = data.Len()
			if nested {
				data.Write([]byte{typeMap<<5 | 1})
				text(&data, "country")
				data.Write([]byte{typeMap<<5 | 1})
				text(&data, "iso_code")
			} else {
				data.Write([]byte{typeMap<<5 | 1})
				text(&data, "country_code")
			}
			text(&data, code)
		}
		t.put(p, empty-1-offsets[code])
	}
	var out bytes.Buffer
	for _, n := range t.nodes {
		for _, record := range n {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(t.record(record)))
			out.Write(b[:])
		}
	}
	out.Write(make([]byte, 16))
	out.Write(data.Bytes())
	t.metadata(&out)
	return out.Bytes()
}

// put sets the record of p. IPv4 is ::/96.
func (t *tree) put(p netip.Prefix, value int) {
	addr, bits := p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		v4 := p.Addr().As4()
		addr = [16]byte{}
		copy(addr[12:], v4[:])
		bits += 96
	}
	at := 0
	for i := range bits {
		bit := addr[i/8] >> (7 - i%8) & 1
		if i == bits-1 {
			t.nodes[at][bit] = value
			return
		}
		next := t.nodes[at][bit]
		if next <= empty {
			t.nodes = append(t.nodes, [2]int{next, next})
			next = len(t.nodes) - 1
			t.nodes[at][bit] = next
		}
		at = next
	}
}

func (t *tree) record(v int) int {
	switch {
	case v == empty:
		return len(t.nodes)
	case v < empty:
		return len(t.nodes) + 16 + empty - 1 - v
	}
	return v
}

func (t *tree) metadata(out *bytes.Buffer) {
	out.WriteString("\xab\xcd\xefMaxMind.com")
	numbers := map[string]int{
		"node_count": len(t.nodes), "record_size": 32, "ip_version": 6,
		"binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_800_000_000,
	}
	out.WriteByte(typeMap<<5 | byte(len(numbers)+1))
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		text(out, name)
		out.WriteByte(typeUint32<<5 | 4)
		out.Write(binary.BigEndian.AppendUint32(nil, uint32(numbers[name])))
	}
	text(out, "database_type")
	text(out, "Test-Country")
}

// text writes one of less than 29 bytes.
func text(out *bytes.Buffer, s string) {
	out.WriteByte(typeText<<5 | byte(len(s)))
	out.WriteString(s)
}
