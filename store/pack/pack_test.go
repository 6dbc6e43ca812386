package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// everything reads one value of each kind and the rest.
func everything[T Text](p T) (v values, err error) {
	r := NewReader(p)
	r.Version(7)
	v.Byte, v.Bool = r.Byte(), r.Bool()
	v.Uvarint, v.Varint = r.Uvarint(), r.Varint()
	v.Text = string(r.Text())
	v.Time, v.Unix = r.Time(), r.Unix()
	v.List = make([]string, r.Count())
	for i := range v.List {
		v.List[i] = string(r.Text())
	}
	if err := r.Err(); err != nil {
		if r.Bad() && (len(r.Rest()) != 0 || r.Uvarint() != 0 || r.Bool() || len(r.Take(0)) != 0) {
			panic("something is read after a fault")
		}
		return v, err
	}
	return v, nil
}

type values struct {
	Byte       byte
	Bool       bool
	Uvarint    uint64
	Varint     int64
	Text       string
	Time, Unix time.Time
	List       []string
}

func (v *values) append() []byte {
	b := AppendBool([]byte{7, v.Byte}, v.Bool)
	b = binary.AppendUvarint(b, v.Uvarint)
	b = binary.AppendVarint(b, v.Varint)
	b = Append(b, v.Text)
	b = AppendUnix(AppendTime(b, v.Time), v.Unix)
	b = binary.AppendUvarint(b, uint64(len(v.List)))
	for _, s := range v.List {
		b = Append(b, []byte(s))
	}
	return b
}

func genValues(t *rapid.T) *values {
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	return &values{
		Byte: rapid.Byte().Draw(t, "byte"), Bool: rapid.Bool().Draw(t, "bool"),
		Uvarint: rapid.Uint64().Draw(t, "uvarint"), Varint: rapid.Int64().Draw(t, "varint"), Text: rapid.String().Draw(t, "text"),
		Time: rapid.OneOf(at, rapid.Just(time.Time{})).Draw(t, "time"), Unix: at.Draw(t, "unix"),
		List: rapid.SliceOf(rapid.String()).Draw(t, "list"),
	}
}

// Appended values are read again, from strings and from bytes; an input that is cut
// short or too long does not pass.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genValues(t)
		raw := v.append()
		got, err := everything(raw)
		if err != nil || !bytes.Equal(got.append(), raw) || !got.Time.Equal(v.Time) || !got.Unix.Equal(v.Unix) || got.Text != v.Text {
			t.Fatalf("%v: got %+v of %+v", err, got, v)
		}
		if same, err := everything(string(raw)); err != nil || !bytes.Equal(same.append(), raw) {
			t.Fatalf("of a string: %v: got %+v of %+v", err, same, v)
		}
		for cut := range raw {
			if _, err := everything(raw[:cut]); !errors.Is(err, errDamaged) {
				t.Fatalf("%d of %d bytes: %v", cut, len(raw), err)
			}
		}
		if _, err := everything(append(raw, 0)); !errors.Is(err, errDamaged) {
			t.Fatalf("one byte too many: %v", err)
		}
	})
}

// The reader agrees with the standard library on every number.
func TestNumbersAgreeWithBinary(t *testing.T) {
	for _, p := range [][]byte{
		{}, {0}, {0x7f}, {0x80}, {0x80, 0}, {0xff, 0x01}, {0x80, 0x80, 0x80},
		binary.AppendUvarint(nil, math.MaxUint64), binary.AppendVarint(nil, math.MinInt64), binary.AppendVarint(nil, math.MaxInt64),
		bytes.Repeat([]byte{0xff}, 9), append(bytes.Repeat([]byte{0xff}, 9), 1), append(bytes.Repeat([]byte{0xff}, 9), 2),
		bytes.Repeat([]byte{0xff}, 11), append(bytes.Repeat([]byte{0x80}, 10), 1),
	} {
		agree(t, p)
	}
	rapid.Check(t, func(rt *rapid.T) {
		agree(t, rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.ByteRange(0x80, 0xff)), 0, 12).Draw(rt, "p"))
	})
}

func agree(t *testing.T, p []byte) {
	t.Helper()
	wantU, n := binary.Uvarint(p)
	r := NewReader(p)
	got := r.Uvarint()
	if r.Bad() != (n <= 0) || n > 0 && (got != wantU || len(r.Rest()) != len(p)-n) {
		t.Fatalf("uvarint of %x: %d, bad %v; want %d in %d bytes", p, got, r.Bad(), wantU, n)
	}
	wantI, n := binary.Varint(p)
	r = NewReader(p)
	if got := r.Varint(); r.Bad() != (n <= 0) || n > 0 && got != wantI {
		t.Fatalf("varint of %x: %d, bad %v; want %d in %d bytes", p, got, r.Bad(), wantI, n)
	}
}

func TestFaults(t *testing.T) {
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	for name, read := range map[string]func() bool{
		"another version":      func() bool { r := NewReader("\x02"); r.Version(1); return r.Bad() },
		"no byte":              func() bool { r := NewReader(""); r.Byte(); return r.Bad() },
		"a bool of 2":          func() bool { r := NewReader("\x02"); return r.Bool() || r.Bad() },
		"a text too long":      func() bool { r := NewReader(huge); r.Text(); return r.Bad() },
		"taking too much":      func() bool { r := NewReader("ab"); return r.Take(3) == "" && r.Bad() },
		"a list too long":      func() bool { r := NewReader("\x03ab"); return r.Count() == 0 && r.Bad() },
		"a second of 10⁹ ns":   func() bool { r := NewReader(binary.AppendUvarint([]byte{0}, 1e9)); return r.Unix().IsZero() && r.Bad() },
		"a time without zone":  func() bool { r := NewReader("\x01"); return r.Time().IsZero() && r.Bad() },
		"a fault of the owner": func() bool { r := NewReader("ab"); r.Fail(); return r.Bad() && r.Rest() == "" && r.Err() != nil },
	} {
		if !read() {
			t.Errorf("%s is no fault", name)
		}
	}
	r := NewReader("\x02ab")
	if r.Count() != 2 || r.Bad() {
		t.Error("a list as long as what is left is a fault")
	}
	if r.Err() == nil || r.Bad() {
		t.Error("bytes that are left over are no error, or a fault")
	}
}

// The bytes of each value, which are on disks.
func TestForm(t *testing.T) {
	for _, tc := range []struct {
		got  []byte
		want string
	}{
		{Append(nil, "ab"), "\x02ab"},
		{Append([]byte{1}, []byte{}), "\x01\x00"},
		{Append(nil, strings.Repeat("x", 200))[:2], "\xc8\x01"},
		{AppendBool(AppendBool(nil, false), true), "\x00\x01"},
		{AppendTime(nil, time.Time{}), "\x00"},
		{AppendTime(nil, time.Unix(1, 2)), "\x01\x02\x02"},
		{AppendUnix(nil, time.Unix(-1, 3)), "\x01\x03"},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add((&values{Text: "a", List: []string{"b"}, Unix: time.Unix(0, 0)}).append())
	f.Fuzz(func(t *testing.T, p []byte) {
		v, err := everything(p)
		if err != nil {
			return
		}
		again, err := everything(v.append())
		if err != nil || !bytes.Equal(again.append(), v.append()) {
			t.Errorf("%x: %v: %+v, then %+v", p, err, v, again)
		}
	})
}
