package manage_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/signin"
)

// grouped is the storage of zitadel's provider with groups of its users.
type grouped struct {
	*storage.Storage
	groups func(user string) []string
}

func (g *grouped) SetUserinfoFromScopes(ctx context.Context, info *oidc.UserInfo, user, client string, scopes []string) error {
	if err := g.Storage.SetUserinfoFromScopes(ctx, info, user, client, scopes); err != nil {
		return err
	}
	info.AppendClaims("groups", g.groups(user))
	return nil
}

func (g *grouped) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	if err := g.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin); err != nil {
		return err
	}
	info.AppendClaims("groups", g.groups(subject))
	return nil
}

// provider is zitadel's OpenID provider with two users, and the groups that both are in.
type provider struct {
	server *httptest.Server
	groups []string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	var handler http.Handler
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(p.server.Close)
	st := &grouped{storage.NewStorage(storage.NewUserStore(p.server.URL)), func(string) []string { return p.groups }}
	handler = exampleop.SetupServer(p.server.URL, st, nil, false, op.WithAllowInsecure())
	return p
}

// at returns an API that signs in with p, and registers it there.
func (p *provider) at(t *testing.T, roles map[string]string) *apitest.Rig {
	t.Helper()
	const id = "perfgate"
	g := apitest.New(t, func(c *httpapi.Config) {
		c.OIDC = signin.NewOIDC(signin.OIDCConfig{Issuer: p.server.URL, ClientID: id, ClientSecret: "secret", GroupsClaim: "groups", Roles: roles})
	})
	g.Unchecked = true // it redirects
	storage.RegisterClients(storage.WebClient(id, "secret", g.Admin.URL+"/signin/oidc/callback"))
	return g
}

var field = regexp.MustCompile(`name="id" value="([^"]*)"`)

// trip signs in as a person would in a browser, and returns the last answer and its cookie.
func trip(t *testing.T, g *apitest.Rig, user string) (apitest.Answer, *apitest.Person) {
	t.Helper()
	return tripUntil(t, g, user, "")
}

// tripUntil is trip up to the redirect to a path, which is not followed; its answer has the
// address as Location, and the person the cookies for it.
func tripUntil(t *testing.T, g *apitest.Rig, user, path string) (apitest.Answer, *apitest.Person) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	apitest.Must(t, err)
	var set string
	browser := &http.Client{Jar: jar, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			for _, c := range resp.Cookies() {
				if c.Name == "perfgate" {
					set = c.Name + "=" + c.Value
				}
			}
		}
		return resp, err
	})}
	browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path != path {
			return nil
		}
		for _, c := range jar.Cookies(r.URL) {
			set = c.Name + "=" + c.Value
		}
		return http.ErrUseLastResponse
	}
	read := func(resp *http.Response, err error) (apitest.Answer, *url.URL) {
		t.Helper()
		apitest.Must(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		apitest.Must(t, err)
		return apitest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(raw)}, resp.Request.URL
	}
	form, at := read(browser.Get(g.Admin.URL + "/signin/oidc"))
	if form.Status != 200 || !strings.HasPrefix(at.Path, "/login") {
		t.Fatalf("the provider's form: %d at %s: %.300s", form.Status, at, form.Body)
	}
	id := at.Query().Get("authRequestID")
	if m := field.FindStringSubmatch(form.Body); m != nil {
		id = m[1]
	}
	a, _ := read(browser.PostForm(at.Scheme+"://"+at.Host+"/login/username", url.Values{"id": {id}, "username": {user}, "password": {"verysecure"}}))
	return a, &apitest.Person{Cookie: set, Rig: g}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The provider is zitadel's own server, with real discovery, codes, PKCE and signatures.
func TestOIDC(t *testing.T) {
	p := newProvider(t)
	g := p.at(t, map[string]string{"staff": "viewer", "leads": "owner", "ops": "operator"})
	user := "test-user@" + strings.Split(strings.TrimPrefix(p.server.URL, "http://"), ":")[0]
	// Without a group that has a role, nobody comes in.
	if a, who := trip(t, g, user); a.Status != 403 || who.Cookie != "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	p.groups = []string{"others", "staff"}
	a, who := trip(t, g, user)
	if a.Status != 200 || !strings.Contains(a.Body, `href="/">Continue`) || who.Cookie == "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	me := who.Do("GET", "/v1/session", "").Want(t, 200)
	if me.Text("role") != "viewer" || me.Text("state") != "active" || !strings.Contains(me.Text("email"), "@") {
		t.Errorf("%s", me.Body)
	}
	who.Do("POST", "/v1/keys", `{"name":"n","type":"test"}`).Want(t, 403, fault.Forbidden)
	// The highest role of the groups counts, and is followed at the next sign-in.
	p.groups = []string{"staff", "leads"}
	_, again := trip(t, g, user)
	if me2 := again.Do("GET", "/v1/session", "").Want(t, 200); me2.Text("role") != "owner" || me2.Text("id") != me.Text("id") {
		t.Errorf("%s", me2.Body)
	}
	who.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession) // the role has changed
	// A disabled user stays out, and so does one whose groups have no role any more.
	g.Op("POST", "/v1/users/"+me.Text("id")+"/disable", "").Want(t, 200)
	if a, who := trip(t, g, user); a.Status != 403 || who.Cookie != "" {
		t.Errorf("a disabled user: %d %s", a.Status, a.Body)
	}
	g.Op("PATCH", "/v1/users/"+me.Text("id"), `{"state":"active"}`).Want(t, 200)
	p.groups = nil
	if a, who := trip(t, g, user); a.Status != 403 || who.Cookie != "" {
		t.Errorf("without groups: %d %s", a.Status, a.Body)
	}
}

// A user who was invited by address is the one who signs in; without a map of groups, only
// such users come in.
func TestOIDCInvited(t *testing.T) {
	p := newProvider(t)
	g := p.at(t, nil)
	host := strings.Split(strings.TrimPrefix(p.server.URL, "http://"), ":")[0]
	if a, _ := trip(t, g, "test-user@"+host); a.Status != 403 {
		t.Fatalf("a stranger: %d %s", a.Status, a.Body)
	}
	id, _ := g.Setup("test-user@zitadel.ch", "developer", "")
	_, who := trip(t, g, "test-user@"+host)
	if me := who.Do("GET", "/v1/session", "").Want(t, 200); me.Text("id") != id || me.Text("role") != "developer" {
		t.Errorf("%s", me.Body)
	}
}

// An answer that was not asked for by this browser signs nobody in.
func TestOIDCForged(t *testing.T) {
	p := newProvider(t)
	g := p.at(t, map[string]string{"staff": "viewer"})
	g.Do(g.Admin.URL, "GET", "/signin/oidc/callback?state=x&code=y", "", "").Want(t, 401, fault.InvalidCredentials)
	g.Do(g.Admin.URL, "GET", "/signin/oidc/callback?state=x&code=y", "", "", "Cookie", "perfgate-signin=AAAA").Want(t, 401, fault.InvalidCredentials)
	_, begun, err := g.Config.OIDC.Begin(t.Context(), g.Admin.URL+"/signin/oidc/callback", now(g))
	apitest.Must(t, err)
	sealed := signin.Seal(g.Store.Pepper(), begun)
	for _, state := range []string{"", "other"} {
		g.Do(g.Admin.URL, "GET", "/signin/oidc/callback?code=y&state="+state, "", "", "Cookie", "perfgate-signin="+sealed).Want(t, 401, fault.InvalidCredentials)
	}
	a := g.Do(g.Admin.URL, "GET", "/signin/oidc/callback?code=wrong&state="+begun.State, "", "", "Cookie", "perfgate-signin="+sealed).Want(t, 401, fault.InvalidCredentials)
	if strings.Contains(a.Body, "wrong") {
		t.Errorf("%s", a.Body)
	}
	g.Now.Add(int64(signin.SignInTime))
	g.Do(g.Admin.URL, "GET", "/signin/oidc/callback?code=y&state="+begun.State, "", "", "Cookie", "perfgate-signin="+sealed).Want(t, 401, fault.InvalidCredentials)
	plain := apitest.New(t)
	plain.Do(plain.Admin.URL, "GET", "/signin/oidc", "", "").Want(t, 404)
}

func now(g *apitest.Rig) time.Time {
	n, _ := g.Config.Clock()
	return n
}

// A real answer of the provider is refused with another state, and with another nonce than
// the one that this browser began with.
func TestOIDCBelongsToTheBrowser(t *testing.T) {
	p := newProvider(t)
	p.groups = []string{"staff"}
	g := p.at(t, map[string]string{"staff": "viewer"})
	user := "test-user@" + strings.Split(strings.TrimPrefix(p.server.URL, "http://"), ":")[0]
	come := func() (at *url.URL, cookie string) {
		a, who := tripUntil(t, g, user, "/signin/oidc/callback")
		at, err := url.Parse(a.Header.Get("Location"))
		apitest.Must(t, err)
		if at.Query().Get("code") == "" || !strings.HasPrefix(who.Cookie, "perfgate-signin=") {
			t.Fatalf("%s with %q", at, who.Cookie)
		}
		return at, who.Cookie
	}
	at, cookie := come()
	q := at.Query()
	q.Set("state", q.Get("state")+"x")
	g.Do(g.Admin.URL, "GET", at.Path+"?"+q.Encode(), "", "", "Cookie", cookie).Want(t, 401, fault.InvalidCredentials)
	g.Do(g.Admin.URL, "GET", at.RequestURI(), "", "").Want(t, 401, fault.InvalidCredentials)
	g.Do(g.Admin.URL, "GET", at.RequestURI(), "", "", "Cookie", cookie).Want(t, 200) // nothing else was wrong
	g.Do(g.Admin.URL, "GET", at.RequestURI(), "", "", "Cookie", cookie).Want(t, 401, fault.InvalidCredentials)

	at, cookie = come()
	begun, ok := signin.Open(g.Store.Pepper(), strings.TrimPrefix(cookie, "perfgate-signin="), now(g))
	if !ok {
		t.Fatal("the trip cannot be opened")
	}
	begun.Nonce = "another"
	g.Do(g.Admin.URL, "GET", at.RequestURI(), "", "", "Cookie", "perfgate-signin="+signin.Seal(g.Store.Pepper(), begun)).Want(t, 401, fault.InvalidCredentials)
}
