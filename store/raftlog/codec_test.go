package raftlog

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := raft.Log{
			Index: rapid.Uint64().Draw(t, "index"), Term: rapid.Uint64().Draw(t, "term"),
			Type:       raft.LogType(rapid.Byte().Draw(t, "type")),
			Data:       rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
			Extensions: rapid.SliceOf(rapid.Byte()).Draw(t, "ext"),
			AppendedAt: time.Unix(rapid.Int64().Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")),
		}
		raw := appendEntry(nil, &in)
		var out raft.Log
		if err := decodeEntry(raw, &out); err != nil {
			t.Fatal(err)
		}
		same2(t, &out, &in)
		if decodeEntry(raw[:len(raw)-1], &out) == nil || decodeEntry(append(raw, 0), &out) == nil {
			t.Fatal("a byte missing or left over was accepted")
		}
	})
	var zero raft.Log
	if err := decodeEntry(appendEntry(nil, &raft.Log{}), &zero); err != nil || !zero.AppendedAt.IsZero() {
		t.Fatalf("the zero time became %v, %v", zero.AppendedAt, err)
	}
}

func same2(t *rapid.T, got, want *raft.Log) {
	t.Helper()
	if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type ||
		string(got.Data) != string(want.Data) || string(got.Extensions) != string(want.Extensions) ||
		!got.AppendedAt.Equal(want.AppendedAt) {
		t.Fatalf("\n got %+v\nwant %+v", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{format, 0})
	f.Add(appendEntry(nil, entry(23)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var l, again raft.Log
		if decodeEntry(raw, &l) != nil {
			return
		}
		if err := decodeEntry(appendEntry(nil, &l), &again); err != nil {
			t.Fatal(err)
		}
		same(t, &again, &l)
	})
}
