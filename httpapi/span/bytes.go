package span

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// byteUnits are the units of sizes, those of powers of 1024 first.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// Bytes reads a size with its unit, such as "64MiB", "10GB" or "512B". Fractions are
// refused: "1.5GiB" is "1536MiB". So is a number without a unit, which people mean in
// different ones.
func Bytes(s string) (int64, error) {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		return int64(n) * u.bytes, nil
	}
	return 0, errors.New(`must be a size such as "64MiB", with its unit`)
}

// FormatBytes writes a size as [Bytes] reads it, in the largest unit of a power of
// 1024 that divides it.
func FormatBytes(n int64) string {
	for _, u := range byteUnits[:4] {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
