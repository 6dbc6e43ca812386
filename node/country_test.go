package node

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/geo/geotest"
)

// A request's country is in usage and in its audit event: by the database, or by the
// header of a trusted proxy, which goes before it.
func TestCountries(t *testing.T) {
	t.Parallel()
	places := filepath.Join(t.TempDir(), "places.mmdb")
	db := geotest.Database(map[netip.Prefix]string{netip.MustParsePrefix("203.0.113.0/24"): "DE"}, false)
	if err := os.WriteFile(places, db, 0o600); err != nil {
		t.Fatal(err)
	}
	file := configtest.File(t, fmt.Sprintf("[proxy]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[geoip]\ndatabase = %q\nheader = \"CF-IPCountry\"", places))
	n := startLone(t, t.TempDir(), "--config", file, "--demo")
	printed := regexp.MustCompile(`Bearer (\S+)"`).FindStringSubmatch(n.out.String())
	if printed == nil {
		t.Fatalf("no key in %s", n.out)
	}
	for _, c := range []struct{ from, says string }{{"203.0.113.7", ""}, {"203.0.113.8", "br"}, {"198.51.100.1", ""}} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.proxyListener.server.Addr().String()+"/hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+printed[1])
		req.Header.Set("X-Forwarded-For", c.from)
		if c.says != "" {
			req.Header.Set("CF-IPCountry", c.says)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	_, usage := n.get(t, n.adminListener, "/v1/usage?group_by=country", n.token(t))
	groups := regexp.MustCompile(`"group":(null|"\w+"),"requests":(\d)`).FindAllString(usage, -1)
	if got := strings.Join(groups, " "); got != `"group":null,"requests":1 "group":"BR","requests":1 "group":"DE","requests":1` {
		t.Errorf("usage: %s", usage)
	}
	_, log := n.get(t, n.adminListener, "/v1/audit-logs?action=request&order=asc", n.token(t))
	countries := regexp.MustCompile(`"country":("\w*"|null)`).FindAllString(log, -1)
	slices.Sort(countries) // events that are written at once are in no order
	if got := strings.Join(countries, " "); got != `"country":"BR" "country":"DE" "country":null` {
		t.Errorf("audit: %s", log)
	}
	if names := strings.Count(log, `"name":"demo"`); names != 3 {
		t.Errorf("%d events have the name of the key: %s", names, log)
	}
}

// A file that is no database fails the start and check-config, which name the key.
func TestBadGeography(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.mmdb")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load([]string{"--data-dir", t.TempDir()}, configtest.Environ())
	if err != nil {
		t.Fatal(err)
	}
	c.GeoIP.Database = bad
	if _, err := checkFiles(c); err == nil || !strings.Contains(err.Error(), "geoip.database") || !strings.Contains(err.Error(), "MaxMind") {
		t.Error(err)
	}
}
