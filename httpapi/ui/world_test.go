package ui

import (
	"regexp"
	"strings"
	"testing"
)

// TestPlaces: every country has a square of its own, and some lie as they do on the globe.
func TestPlaces(t *testing.T) {
	if len(places) != 250 {
		t.Errorf("%d countries, want the 249 of ISO 3166-1 and Kosovo", len(places))
	}
	at := map[[2]int]string{}
	for code, p := range places {
		if other, taken := at[p]; taken || !regexp.MustCompile(`^[A-Z]{2}$`).MatchString(code) {
			t.Errorf("%q and %q are at %v", code, other, p)
		}
		at[p] = code
	}
	for _, row := range []string{"US BM ES IT TR CN JP", "CL AR ZA AU NZ", "MX CU MA EG IN"} {
		codes := strings.Fields(row)
		for i := 1; i < len(codes); i++ {
			if places[codes[i-1]][0] >= places[codes[i]][0] {
				t.Errorf("%s lies to the east of %s", codes[i-1], codes[i])
			}
		}
	}
	for _, column := range []string{"CA US MX BR AR", "NO DE IT TN TD CD ZA", "RU CN TH ID AU"} {
		codes := strings.Fields(column)
		for i := 1; i < len(codes); i++ {
			if places[codes[i-1]][1] >= places[codes[i]][1] {
				t.Errorf("%s lies to the south of %s", codes[i-1], codes[i])
			}
		}
	}
}

// TestWorld shades countries by the root of their requests.
func TestWorld(t *testing.T) {
	w := newWorld([]usageGroup{{Name: "DE", Requests: 2500}, {Name: "", Requests: 40}, {Name: "US", Requests: 900}, {Name: "FR", Requests: 100}, {Name: "JP", Requests: 1}, {Name: "ZZ", Requests: 2}})
	heats := ""
	for _, tile := range w.Tiles {
		heats += tile.Code + string(rune('0'+tile.Heat))
	}
	if heats != "DE5US3FR1JP1" || w.Nowhere != 42 || strings.Count(w.Land, "M") != 246 || w.Width < 200 || w.Height < 100 || len(w.Land) > 6000 {
		t.Errorf("%s, %d nowhere, %d countries without requests in %d bytes, %d by %d", heats, w.Nowhere, strings.Count(w.Land, "M"), len(w.Land), w.Width, w.Height)
	}
	if newWorld([]usageGroup{{Name: "", Requests: 40}}) != nil {
		t.Error("a map without a country")
	}
}
