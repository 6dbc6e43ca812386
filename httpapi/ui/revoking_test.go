package ui_test

import (
	"bufio"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
)

// TestRevocationAsItComes: while a node has not confirmed, the page already holds the rows
// of those that have, and it does not say that the key is revoked.
func TestRevocationAsItComes(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("test", "read")
	g.Backend.Settle = make(chan struct{})
	g.Backend.Others = []manage.NodeStatus{{Name: "n2", AppliedIndex: 1 << 40}, {Name: "n3", AppliedIndex: 1}}

	resp := g.begin("/keys/"+id+"/revoke", url.Values{"once": {"a"}})
	defer resp.Body.Close()
	stop := time.AfterFunc(time.Minute, func() { resp.Body.Close() }) // a page that never grows fails the test
	defer stop.Stop()
	var page strings.Builder
	in := bufio.NewReader(resp.Body)
	for rows := 0; rows < 2; {
		line, err := in.ReadString('\n')
		if page.WriteString(line); err != nil {
			t.Fatalf("the page broke off with %v: %s", err, page.String())
		}
		if strings.Contains(line, ">applied<") {
			rows++
		}
	}
	if so := page.String(); !strings.Contains(so, ">n1<") || !strings.Contains(so, ">n2<") || strings.Contains(so, ">n3<") || strings.Contains(so, "No node accepts") {
		t.Fatalf("before n3 has confirmed, the page is %s", so)
	}
	close(g.Backend.Settle)
	if _, err := in.WriteTo(&page); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(page.String()))
	apitest.Must(t, err)
	p := &shown{t: t, header: resp.Header, root: root}
	p.says("The key is revoked", "No node accepts the key any more", "n1 applied", "n2 applied")
	if n := strings.Count(page.String(), ">n1<"); n != 1 {
		t.Errorf("n1 has %d rows", n)
	}
	p.inert()
}

// TestRevocationThatFails: a page that has begun ends with the reason, and with a whole page.
func TestRevocationThatFails(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("test", "read")
	g.Backend.Held, g.Backend.Hold, g.Backend.Fail = make(chan struct{}, 1), make(chan struct{}), fault.New(fault.NoLeader)
	resp := g.begin("/keys/"+id+"/revoke", url.Values{"once": {"a"}}) // returns when the page has begun
	defer resp.Body.Close()
	close(g.Backend.Hold)
	root, err := html.Parse(resp.Body)
	apitest.Must(t, err)
	p := &shown{t: t, status: resp.StatusCode, header: resp.Header, root: root}
	p.want(200).says("Revoke the key", "Request req_").inert()
	if strings.Contains(p.text(), "No node accepts") || strings.Contains(p.text(), "The key is revoked") {
		t.Errorf("a revocation that failed: %s", p.text())
	}
}

// begin posts a form and returns when the head of the answer is there.
func (g *rig) begin(path string, form url.Values) *http.Response {
	g.t.Helper()
	r, err := http.NewRequest("POST", g.pages.URL+path, strings.NewReader(form.Encode()))
	apitest.Must(g.t, err)
	r.Header = http.Header{"Cookie": {g.cookie}, "Origin": {g.pages.URL}, "Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"text/html"}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	apitest.Must(g.t, err)
	return resp
}

// TestWhatARevocationStops: before a key is revoked, the page says how often and from where it
// was used in the last hour.
func TestWhatARevocationStops(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read")
	g.get("/keys/"+id+"/revoke").want(200).says("It was never used", "It was not used in the last hour")
	g.observe(id, 2, 3, nil) // today and yesterday
	now, _ := g.Config.Clock()
	recent := []insight.User{
		{IP: netip.MustParseAddr("203.0.113.7"), Country: "DE", Agent: evil, At: now.Add(-12 * time.Second)}, {IP: netip.MustParseAddr("2001:db8::1"), At: now.Add(-time.Minute)},
		{IP: netip.MustParseAddr("198.51.100.1"), At: now.Add(-2 * time.Hour)},
	}
	g.Profiles = map[store.KeyID]insight.Profile{store.KeyID(id): {Recent: recent}}
	p := g.as("admin").get("/keys/"+id+"/revoke").want(200).says("It was used 3 times in the last hour, from 2 addresses.", "203.0.113.7 DE, 12 s ago", evil, "2001:db8::1 , 1 min ago")
	if strings.Contains(p.text(), "198.51.100.1") {
		t.Error("an address of two hours ago is named")
	}
	for i := range 8 {
		recent = append(recent, insight.User{IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), At: now.Add(-time.Minute)})
	}
	g.Profiles[store.KeyID(id)] = insight.Profile{Recent: recent}
	g.post("/keys/"+id+"/revoke", url.Values{"confirm": {"no"}, "once": {"x"}}).want(422).says("from 10 or more addresses")
}
