package span

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30d": 30 * Day, "14d12h": 14*Day + 12*time.Hour, "1d1ms": Day + time.Millisecond, "0d": 0, "0s": 0,
		"24h": Day, "1h30m": 90 * time.Minute, "-2d": -2 * Day, "-1d12h": -36 * time.Hour, "+1d": Day,
		"1d1.5h": Day + 90*time.Minute, "-5m": -5 * time.Minute, "106751d": 106751 * Day,
	} {
		if got, err := Parse(in); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "1.5d", "1d-1h", "1d+1h", "--1d", "1d2d", "12h1d", "d1h", "30", "1 d", "30D", "1d ", "99999999999999999999d", "106752d", "106751d24h"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %v", in, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 90 * time.Minute: "1h30m", 2 * time.Hour: "2h", 7 * Day: "7d", 14*Day + 12*time.Hour: "14d12h",
		Day + time.Second: "1d1s", -36 * time.Hour: "-1d12h", 30 * time.Minute: "30m", 10 * time.Second: "10s", 20 * time.Hour: "20h",
	} {
		if got := Format(d); got != want {
			t.Errorf("Format(%v) = %q, want %q", d, got, want)
		}
	}
	for _, d := range []time.Duration{math.MinInt64 + 1, math.MaxInt64, -1, 123456789 * time.Microsecond, -Day} {
		if got, err := Parse(Format(d)); err != nil || got != d {
			t.Errorf("Parse(%q) = %v, %v; want %v", Format(d), got, err, d)
		}
	}
	if got := Format(math.MinInt64); got != "-2562047h47m16.854775808s" {
		t.Error(got)
	}
}

// Parse reads every duration of Go's syntax as Go does: days add to the syntax and change
// nothing in it.
func TestParseAgreesWithGo(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Microsecond, time.Second, 90 * time.Minute, Day, 100 * Day, -time.Hour, 1<<63 - 1} {
		if got, err := Parse(d.String()); err != nil || got != d {
			t.Errorf("Parse(%q) = %v, %v", d.String(), got, err)
		}
		if days := d / Day; days >= 0 && d >= 0 {
			text := fmt.Sprintf("%dd%s", days, d%Day)
			if got, err := Parse(text); err != nil || got != d {
				t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, d)
			}
		}
	}
}

// An error quotes the text and shows the form, so that it can be shown to people.
func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"soon": `"soon" is no duration such as "30d" or "12h"`, "1d-1h": `"1d-1h" is no duration such as "30d" or "14d12h"`,
		"106752d": `"106752d" is too long`, "a\nb": `"a\nb" is no duration such as "30d" or "12h"`,
	} {
		if _, err := Parse(in); err == nil || err.Error() != want {
			t.Errorf("Parse(%q): %v, want %s", in, err, want)
		}
	}
}

func TestGo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", time.Minute: "1m", 10 * time.Minute: "10m", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m",
		time.Hour + time.Second: "1h0m1s", 20 * time.Hour: "20h", 1500 * time.Millisecond: "1.5s",
	} {
		got := Go(d)
		if again, err := time.ParseDuration(got); got != want || err != nil || again != d {
			t.Errorf("%v is %q, want %q; read as %v, %v", d, got, want, again, err)
		}
	}
}
