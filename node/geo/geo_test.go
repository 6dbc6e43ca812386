package geo

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/geo/geotest"
)

var places = map[netip.Prefix]string{
	netip.MustParsePrefix("203.0.113.0/24"):   "DE",
	netip.MustParsePrefix("203.0.113.128/25"): "FR",
	netip.MustParsePrefix("2001:db8::/32"):    "BR",
	netip.MustParsePrefix("198.51.100.0/24"):  "??",
}

func write(t *testing.T, path string, raw []byte, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCountry(t *testing.T) {
	for _, nested := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "geo.mmdb")
		write(t, path, geotest.Database(places, nested), time.Now())
		d, err := Open(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for address, want := range map[string]string{
			"203.0.113.7": "DE", "203.0.113.200": "FR", "::ffff:203.0.113.7": "DE", "2001:db8::1%eth0": "BR",
			"2001:db9::1": "", "8.8.8.8": "", "198.51.100.1": "",
		} {
			for range 2 { // the second time from memory
				if got := d.Country(netip.MustParseAddr(address)).String(); got != want {
					t.Errorf("nested %v, %s: %q, want %q", nested, address, got, want)
				}
			}
		}
		if c := d.Country(netip.Addr{}).String(); c != "" {
			t.Errorf("no address: %s", c)
		}
	}
}

// A changed file is used; a bad one, and none, leave the old one in use.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	write(t, path, geotest.Database(places, false), at)
	var log bytes.Buffer
	d, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	country := func() string { d.poll(); return d.Country(netip.MustParseAddr("203.0.113.7")).String() }
	if c := country(); c != "DE" {
		t.Error(c)
	}
	write(t, path, []byte("not a database"), at.Add(time.Second))
	if c := country(); c != "DE" || !strings.Contains(log.String(), "the old one stays") {
		t.Error(c, log.String())
	}
	said := log.Len()
	if country(); log.Len() != said {
		t.Errorf("said again: %s", log.String())
	}
	write(t, path, geotest.Database(map[netip.Prefix]string{netip.MustParsePrefix("203.0.0.0/16"): "US"}, false), at.Add(2*time.Second))
	if c := country(); c != "US" {
		t.Error(c, log.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if c := country(); c != "US" {
		t.Error(c)
	}
	if err := Check(path); err == nil {
		t.Error("a missing file is a database")
	}
}

func BenchmarkCountry(b *testing.B) {
	path := filepath.Join(b.TempDir(), "geo.mmdb")
	if err := os.WriteFile(path, geotest.Database(places, true), 0o600); err != nil {
		b.Fatal(err)
	}
	d, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ip := netip.MustParseAddr("203.0.113.7")
	b.ReportAllocs()
	for b.Loop() {
		d.Country(ip)
	}
}
