package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// pieces is a reader that yields one piece after the other, then an error, and goes on.
type pieces struct {
	left []string
	err  error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, p.err
	}
	n := copy(b, p.left[0])
	if p.left[0] = p.left[0][n:]; p.left[0] == "" {
		p.left = p.left[1:]
	}
	return n, nil
}

// An input answers as a bufio.Reader does, whatever is asked in whatever order.
func TestInputIsLikeBufio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,40}`), 0, 8).Draw(t, "pieces")
		end := errors.New("the end")
		ours := newInput(&pieces{text, end}, 16)
		theirs := bufio.NewReaderSize(&pieces{append([]string(nil), text...), end}, 16)
		for range rapid.IntRange(1, 40).Draw(t, "calls") {
			var got, want any
			var err, same error
			n := rapid.IntRange(0, 20).Draw(t, "n")
			switch call := rapid.SampledFrom([]string{"read", "peek", "byte", "discard"}).Draw(t, "call"); call {
			case "read":
				p, q := make([]byte, n), make([]byte, n)
				var m int
				m, err = ours.Read(p)
				got = string(p[:m])
				m, same = theirs.Read(q)
				want = string(q[:m])
			case "peek":
				var p, q []byte
				p, err = ours.Peek(n)
				q, same = theirs.Peek(n)
				got, want = string(p), string(q)
			case "byte":
				got, err = ours.ReadByte()
				want, same = theirs.ReadByte()
			default:
				n = min(n, ours.Buffered())
				ours.discard(n)
				theirs.Discard(n)
			}
			if got != want || err != same {
				t.Fatalf("%v, %v; bufio has %v, %v", got, err, want, same)
			}
			q, _ := theirs.Peek(theirs.Buffered())
			if !bytes.Equal(ours.buffered(), q) {
				t.Fatalf("%q is left; bufio has %q", ours.buffered(), q)
			}
		}
	})
}

// What is received directly stands between what was there and what is read.
func TestInputRoom(t *testing.T) {
	in := newInput(strings.NewReader("cd"), 8)
	in.took(copy(in.room(), "xab"))
	in.discard(1)
	in.took(copy(in.room(), "-"))
	if n := len(in.room()); n != 8-3 {
		t.Errorf("there is room for %d octets", n)
	}
	if all, err := io.ReadAll(in.reader()); string(all) != "ab-cd" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

func TestInputEndsWithoutProgress(t *testing.T) {
	in := newInput(&pieces{left: nil}, 8)
	if _, err := in.Peek(1); err != io.ErrNoProgress {
		t.Error(err)
	}
	in = newInput(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc"))), 8)
	for _, want := range []error{nil, iotest.ErrTimeout, nil} {
		if _, err := in.ReadByte(); err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// An input that was given back has nothing of its last use.
func TestInputIsBlankAgain(t *testing.T) {
	in := inputs.Get().(*input)
	in.reset(strings.NewReader("secret"))
	in.Peek(100)
	in.release()
	if in.Buffered() != 0 || in.src != nil || in.err != nil {
		t.Errorf("%d octets are left, and %v, %v", in.Buffered(), in.src, in.err)
	}
}
