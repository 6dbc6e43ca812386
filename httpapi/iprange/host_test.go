package iprange

import "testing"

func TestLooksIPv4(t *testing.T) {
	for host, want := range map[string]bool{
		"10.0.0.1": true, "256.1.1.1": true, "10.1": true, "1": true, "10.0.0.1.": true, "0x7f.1": true, "0x7f000001": true, "a.99999999999999999999999": true,
		"": false, ".": false, "a": false, "1.a": false, "::1": false, "::ffff:10.0.0.1": false, "1a": false, "0xg": false, "a-1": false,
	} {
		if got := LooksIPv4(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
