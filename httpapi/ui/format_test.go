package ui

import (
	"encoding/json"
	"testing"
	"time"
)

func TestAgo(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", 12 * time.Second: "12 s ago", 61 * time.Second: "1 min ago", 119 * time.Minute: "1 h ago", 25 * time.Hour: "1 day ago",
		89 * 24 * time.Hour: "89 days ago", 800 * 24 * time.Hour: "2 years ago", -90 * time.Minute: "in 1 h", -time.Hour: "in 1 h", -48 * time.Hour: "in 2 days",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{{0, "0"}, {999, "999"}, {1000, "1,000"}, {int64(10_000_000), "10,000,000"}, {-1234, "-1,234"}, {json.Number("1234567.0100"), "1,234,567.0100"}, {(*int64)(nil), "–"}} {
		if got := number(c.v); got != c.want {
			t.Errorf("%v: %q, want %q", c.v, got, c.want)
		}
	}
}

func TestVisible(t *testing.T) {
	for s, want := range map[string]string{
		"Production": "Production", "x\u202egpj.exe": "x⟨U+202E⟩gpj.exe", "a\nb": "a⟨U+000A⟩b", "שלום": "שלום", "👩\u200d💻": "👩\u200d💻", "\u2066x": "⟨U+2066⟩x",
	} {
		if got := visible(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestOwnPath(t *testing.T) {
	for next, want := range map[string]string{
		"/keys?type=live": "/keys?type=live", "": "/", "https://evil.example": "/", "//evil.example": "/", "/\\evil.example": "/", "javascript:alert(1)": "/", "/\t/evil.example": "/",
	} {
		if got := ownPath(next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for n, want := range map[int64]int64{1: 1, 2: 2, 3: 5, 6: 10, 101: 200, 5001: 10_000} {
		if got := roundUp(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}
