package store

import (
	"math/big"
	"strings"
	"testing"
)

func TestParseMoney(t *testing.T) {
	for _, c := range []struct {
		in, out string // "" is refused
		rounded bool
	}{
		{"0", "0", false}, {"0.1", "0.1", false}, {"1", "1", false}, {"1.50", "1.5", false}, {"007", "7", false},
		{"1e3", "1000", false}, {"1E-9", "0.000000001", false}, {"1.25e2", "125", false}, {"1e+2", "100", false},
		{"10e-10", "0.000000001", false}, {"1.0000000000", "1", false}, {"0e5", "0", false}, {"0e99999999999999999999", "0", false},
		{"1e-10", "0.000000001", true}, {"0.0000000001", "0.000000001", true}, {"1e-400", "0.000000001", true},
		{"1e-99999999999999999999", "0.000000001", true}, {"1.0000000001", "1.000000001", true}, {"0.9999999999", "1", true},
		{"9000000000", "9000000000", false}, {"9000000000.000000001", "", false}, {"9e9", "9000000000", false}, {"1e10", "", false},
		{"1e400", "", false}, {"1e99999999999999999999", "", false}, {"99999999999999999999", "", false},
		{"", "", false}, {"-1", "", false}, {"+1", "", false}, {"1.", "", false}, {".5", "", false}, {"1e", "", false}, {"e1", "", false},
		{"1e1.5", "", false}, {"1,5", "", false}, {" 1", "", false}, {"0x10", "", false}, {"NaN", "", false}, {"1_000", "", false}, {"1.2.3", "", false},
	} {
		m, exact, err := ParseMoney(c.in)
		if got := string(m.AppendDecimal(nil)); (err == nil) != (c.out != "") || err == nil && (got != c.out || exact == c.rounded) {
			t.Errorf("%q: %s, exact %v, %v; must be %q", c.in, got, exact, err, c.out)
		}
	}
}

func TestAppendDecimal(t *testing.T) {
	for m, want := range map[Money]string{
		0: "0", 1: "0.000000001", MoneyUnit: "1", MoneyUnit + 1: "1.000000001", 3 * MoneyUnit / 2: "1.5", -MoneyUnit / 4: "-0.25", MaxMoney: "9000000000",
	} {
		if got := string(m.AppendDecimal([]byte("x"))); got != "x"+want {
			t.Errorf("%d is written as %q, must be %q", int64(m), got, want)
		}
	}
}

func FuzzMoney(f *testing.F) {
	for _, s := range []string{"0", "1", "0.002", "1e-9", "1.0000000001", "9e9", "9000000000.1", "1e400", "-1", "1e", ".5", "1.", "1E+3", "123456789.123456789"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, exact, err := ParseMoney(s)
		if len(s) > 300 || strings.ContainsAny(s, "eE") && len(s[strings.IndexAny(s, "eE"):]) > 5 {
			return // the reference would need too much memory
		}
		want, ok := new(big.Rat).SetString(s)
		if strings.ContainsAny(s, "_/xXpPbBoO") || !ok || strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
			if err == nil {
				t.Fatalf("%q is no amount and became %d", s, m)
			}
			return
		}
		if err != nil {
			return
		}
		got := new(big.Rat).SetFrac64(int64(m), int64(MoneyUnit))
		diff := new(big.Rat).Sub(got, want)
		if diff.Sign() < 0 || diff.Cmp(big.NewRat(1, int64(MoneyUnit))) >= 0 {
			t.Fatalf("%q became %s", s, got.FloatString(12))
		}
		if exact != (diff.Sign() == 0) {
			t.Fatalf("%q became %s, exactly %v", s, got.FloatString(12), exact)
		}
		if again, _, err := ParseMoney(string(m.AppendDecimal(nil))); err != nil || again != m {
			t.Fatalf("%d written and read again is %d, %v", m, again, err)
		}
	})
}
