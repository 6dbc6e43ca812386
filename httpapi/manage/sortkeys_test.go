package manage_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// names lists the names of all keys of a list, page by page.
func names(g *apitest.Rig, query string, limit int) (out []string) {
	g.T.Helper()
	for cursor := ""; ; {
		a := g.Op("GET", fmt.Sprintf("/v1/keys?limit=%d&%s%s", limit, query, cursor), "").Want(g.T, 200)
		var page struct {
			Data []struct{ Name string }
			Next *string `json:"next_cursor"`
		}
		apitest.Must(g.T, json.Unmarshal([]byte(a.Body), &page))
		if len(page.Data) > limit {
			g.T.Fatalf("%d keys on a page of %d", len(page.Data), limit)
		}
		for _, k := range page.Data {
			out = append(out, k.Name)
		}
		if page.Next == nil {
			return out
		}
		g.Now.Add(int64(time.Millisecond)) // the pages of a list ask for the same moment
		cursor = "&cursor=" + url.QueryEscape(*page.Next)
	}
}

func TestSortAndSearchKeys(t *testing.T) {
	g := apitest.New(t)
	day := func(n float64) string {
		now, _ := g.Config.Clock()
		return now.Add(time.Duration(n * 24 * float64(time.Hour))).Format(time.RFC3339)
	}
	for _, k := range []struct{ name, more string }{
		{"old", ``}, {"betamax", `,"expires_at":"` + day(100) + `"`}, {"Alphabet", `,"expires_at":"` + day(80.5) + `"`}, {"gone", ``}, {"c", `,"metadata":{"owner":"Team-7"},"expires_at":"` + day(90) + `"`}, {"b", ``},
	} {
		id := g.Op("POST", "/v1/keys", `{"name":"`+k.name+`","type":"live"`+k.more+`}`).Want(t, 201).Text("id")
		if k.name == "gone" {
			g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
		}
		g.Now.Add(int64(time.Second))
		if k.name == "old" {
			g.Now.Add(int64(10 * 24 * time.Hour))
		}
	}
	for query, want := range map[string]string{
		"sort=name":                 "Alphabet b betamax c gone old",
		"sort=-name":                "old gone c betamax b Alphabet",
		"sort=created_at":           "old betamax Alphabet gone c b",
		"sort=-created_at":          "b c gone Alphabet betamax old",
		"sort=expires_at":           "Alphabet c betamax",
		"sort=-expires_at&q=ALPHAB": "Alphabet",
		"q=ETAMA":                   "betamax",
		"q=no+such":                 "",
		"q=TEAM-7":                  "c",
		"q=Owner":                   "c",
		"q=OP_&state=revoked":       "gone", // its creator
		"due=0s":                    "",
		"due=69d":                   "",
		"due=70d12h":                "Alphabet",
		"due=80d&sort=name":         "Alphabet c old",
		"due=1000d&sort=name":       "Alphabet b betamax c old",
		"due=1000d&type=test":       "",
		"sort=name&state=revoked":   "gone",
	} {
		for limit := 1; limit < 8; limit++ {
			got := names(g, query, limit)
			if query == "sort=expires_at" { // keys without an expiry follow, by id
				got = got[:3]
			}
			if !slices.Equal(got, strings.Fields(want)) {
				t.Errorf("%s by %d lists %v, want %s", query, limit, got, want)
			}
		}
	}
	for _, bad := range []string{"sort=id", "sort=name,-name", "due=soon", "due=-1d", "due="} {
		g.Op("GET", "/v1/keys?"+bad, "").Want(t, 422, fault.InvalidValue)
	}
	next := g.Op("GET", "/v1/keys?sort=name&limit=1", "").Text("next_cursor")
	g.Op("GET", "/v1/keys?sort=-name&limit=1&cursor="+next, "").Want(t, 400, fault.InvalidCursor)
}
