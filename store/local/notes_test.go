package local

import (
	"fmt"
	"testing"
	"time"
)

func TestNotes(t *testing.T) {
	l := open(t, Config{})
	for i := range 5 {
		must(t, l.Notes().Add(day0.Add(time.Duration(i)*time.Hour), "fnd_1", fmt.Append(nil, "note ", i)))
	}
	must(t, l.Notes().Add(day0, "fnd_1", []byte("note 0 again")))
	read := func(from, to time.Time, most int) (out []string) {
		must(t, l.Notes().Each(from, to, func(note []byte) bool {
			out = append(out, string(note))
			return len(out) < most
		}))
		return out
	}
	for _, c := range []struct {
		from, to time.Duration
		most     int
		want     string
	}{
		{0, 24 * time.Hour, 9, "[note 4 note 3 note 2 note 1 note 0 again]"},
		{time.Hour, 3 * time.Hour, 9, "[note 2 note 1]"},
		{0, 24 * time.Hour, 2, "[note 4 note 3]"},
		{9 * time.Hour, 24 * time.Hour, 9, "[]"},
	} {
		if got := fmt.Sprint(read(day0.Add(c.from), day0.Add(c.to), c.most)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	must(t, l.Flush())
	must(t, l.w.trim(day0.Add(noteKeep+90*time.Minute)))
	if got := fmt.Sprint(read(day0, day0.Add(24*time.Hour), 9)); got != "[note 4 note 3 note 2]" {
		t.Errorf("after their time: %s", got)
	}
	for i := range maxNotes {
		must(t, l.Notes().Add(day0.Add(48*time.Hour), fmt.Sprint("fnd_", i), []byte("new")))
	}
	must(t, l.w.trim(day0.Add(72*time.Hour)))
	if got := read(day0, day0.Add(99*time.Hour), maxNotes+9); len(got) != maxNotes || got[maxNotes-1] != "new" {
		t.Errorf("%d notes, the oldest %s", len(got), got[len(got)-1])
	}
}

func TestHabits(t *testing.T) {
	l := open(t, Config{})
	if h, err := l.Notes().Habit("key_a"); h != nil || err != nil {
		t.Error(h, err)
	}
	must(t, l.Notes().SetHabit("key_a", []byte("x")))
	if h, err := l.Notes().Habit("key_a"); string(h) != "x" || err != nil {
		t.Error(h, err)
	}
}

// Every request is watched, with the code of a refusal and its kind.
func TestWatch(t *testing.T) {
	var seen []Watched
	l := open(t, Config{Country: locateModel, Watch: func(w *Watched) { seen = append(seen, *w) }})
	for _, o := range []*Observation{
		admitted(day0, "default", "key_a"),
		refused(day0, "", "", "invalid_key", 401, "pk_live_a…b", "198.51.100.1"),
		refused(day0, "default", "key_a", "requests_per_minute", 429, "", "198.51.100.1"),
		{At: day0, Method: "POST", Route: "/v1/keys", Status: 201, Account: "default", Key: "key_a", Management: true},
	} {
		l.Observe(o)
		must(t, l.Flush())
	}
	if len(seen) != 4 {
		t.Fatalf("%+v", seen)
	}
	for i, want := range []string{
		`"" 0 false ""`, `"invalid_key" 97 false "pk_live_a…b"`, `"requests_per_minute" 111 false ""`, `"" 0 true ""`,
	} {
		s := seen[i]
		if got := fmt.Sprintf("%q %d %v %q", s.Reason, s.Kind, s.Management, s.Hint); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	if s := seen[1]; s.Country.String() != "JP" || s.Status != 401 || s.Key != "" || !s.At.Equal(day0) {
		t.Errorf("%+v", s)
	}
}
