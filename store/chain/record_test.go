package chain

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimesAreInTheirFormat(t *testing.T) {
	same := func(t interface{ Fatalf(string, ...any) }, at time.Time) {
		if got, want := string(AppendTime([]byte("at "), at)), "at "+at.UTC().Format(TimeFormat); got != want {
			t.Fatalf("%d.%09d: %q, want %q", at.Unix(), at.Nanosecond(), got, want)
		}
	}
	for _, at := range []time.Time{
		{}, time.Unix(0, 999_999), time.Unix(0, 999_999_999), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 0, 0, 0, 7e6, time.FixedZone("", 5400)),
	} {
		same(t, at)
	}
	rapid.Check(t, func(t *rapid.T) {
		same(t, time.Unix(rapid.Int64Range(-1<<37, 1<<38).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")))
	})
}

func BenchmarkAppendTime(b *testing.B) {
	var room [32]byte
	for at := time.Unix(1764529600, 123e6); b.Loop(); at = at.Add(time.Millisecond) {
		AppendTime(room[:0], at)
	}
}
