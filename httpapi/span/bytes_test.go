package span

import "testing"

func TestBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"512B": 512, "1KiB": 1024, "64MiB": 64 << 20, "10 GB": 10e9, "0B": 0, "2TiB": 2 << 40, "3kB": 3000, "3KB": 3000, "8388607TiB": 8388607 << 40, "9223372036854775807B": 1<<63 - 1,
	} {
		got, err := Bytes(text)
		if err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
		if again, err := Bytes(FormatBytes(got)); err != nil || again != got {
			t.Errorf("%d is written %q and read as %d, %v", got, FormatBytes(got), again, err)
		}
	}
	for _, text := range []string{"", "512", "0", "MiB", "B", "-1MiB", "+1B", "1.5GiB", "64mib", "1e3B", "8388608TiB", "9223372036854775808B", "1KiBB"} {
		if n, err := Bytes(text); err == nil {
			t.Errorf("%q is read as %d", text, n)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1: "1B", 1000: "1000B", 1024: "1KiB", 1536 << 20: "1536MiB", 1 << 30: "1GiB", 1<<40 + 1: "1099511627777B", -1024: "-1024B"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d is written %q, want %q", n, got, want)
		}
	}
}
