package manage

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// FuzzDecode: a body is refused with a fault that names something, or it is one
// JSON object that the lenient decoder reads as well.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"n","type":"live","scopes":["read"],"limits":{"burst":1},"max_cost_per_call":0.1}`, `{"entries":[{"cidr":"::/0"}]}`, `{"overlap":null}`,
		`{"ids":["key_1"],"created_before":"2030-01-01T00:00:00Z"}`, `{"state":"disabled","metadata":{"a":"b","a":"c"}}`, `nul`, `{"name":1e400}`, "{}\n{}", `{"limits":[[[[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, in := range []any{new(newKey), new(keyPatch), new(bulk), new(rotation), new(importLine), new(newAllowlist), new(managedPatch), new(newTier), new(tierPatch)} {
			err := rest.Decode(body, in)
			if err == nil {
				var loose map[string]any
				if json.Unmarshal(body, &loose) != nil {
					t.Fatalf("%T takes a body that is no JSON object: %q", in, body)
				}
				continue
			}
			var refused *fault.Error
			if !errors.As(err, &refused) || refused.Code.Status() != 400 && refused.Code.Status() != 422 || len(refused.Message) > 300 || !utf8.ValidString(refused.Message) {
				t.Fatalf("%T: %v", in, err)
			}
		}
		parseAllowText(body)
	})
}

// FuzzMoney: an amount that is read is written back as the same amount.
func FuzzMoney(f *testing.F) {
	for _, s := range []string{"0", "0.1", "1e3", "1E-9", "9000000", "0.000000001", "12.50", "1e-10", "123e+2", "0e99", "-1", "00", "1.000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMoney(s)
		if !ok {
			return
		}
		back, ok := parseMoney(string(m.AppendDecimal(nil)))
		if !ok || back != m {
			t.Fatalf("%q is %d, and %s is %d", s, m, m.AppendDecimal(nil), back)
		}
	})
}

func TestMoney(t *testing.T) {
	for _, c := range []struct {
		in, out string // "" is refused
	}{
		{"0", "0"}, {"0.1", "0.1"}, {"1", "1"}, {"1.50", "1.5"}, {"1e3", "1000"}, {"1E-9", "0.000000001"}, {"1.25e2", "125"}, {"0.000000001", "0.000000001"},
		{"123456.789012345", "123456.789012345"}, {"9000000", "9000000"}, {"9000000.000000001", ""}, {"1e-10", ""}, {"0.0000000001", ""}, {"1.0000000000", "1"},
		{"-1", ""}, {"1e400", ""}, {"1e-400", ""}, {"10e-10", "0.000000001"}, {"99999999999999999999", ""}, {"1e18", ""}, {"0e5", "0"},
	} {
		m, ok := parseMoney(c.in)
		if got := string(m.AppendDecimal(nil)); ok != (c.out != "") || ok && got != c.out {
			t.Errorf("%s: %v %s, want %q", c.in, ok, got, c.out)
		}
	}
}
