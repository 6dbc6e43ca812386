package manage_test

import (
	"encoding/base32"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

func TestSignIn(t *testing.T) {
	g := apitest.New(t)
	id, token := g.Setup("Ada@example.com", "owner", "")
	if a := g.Op("GET", "/v1/users/"+id, ""); a.Text("state") != "invited" {
		t.Errorf("before: %s", a.Body)
	}
	g.SignIn(map[string]string{"token": token, "password": "short"}).Want(t, 422)
	a := g.SignIn(map[string]string{"token": token, "password": apitest.Password}).Want(t, 200)
	if a.Text("id") != id || a.Text("role") != "owner" || a.Text("email") != "Ada@example.com" || a.Text("state") != "active" {
		t.Errorf("%s", a.Body)
	}
	if c := a.Header.Get("Set-Cookie"); !strings.HasPrefix(c, "perfgate=usr_") || !strings.Contains(c, "; HttpOnly; SameSite=Strict") || !strings.Contains(c, "Path=/;") || strings.Contains(c, "Secure") {
		t.Errorf("cookie %q", c)
	}
	g.SignIn(map[string]string{"token": token}).Want(t, 401, fault.InvalidCredentials)
	// Another origin gets nothing; a browser that came by https gets a secure cookie.
	g.SignIn(map[string]string{"email": "ada@example.com", "password": apitest.Password}, "Origin", "https://evil.example").Want(t, 403, fault.Forbidden)
	a = g.SignIn(map[string]string{"email": "ada@EXAMPLE.com", "password": apitest.Password}, "Origin", "https://"+strings.TrimPrefix(g.Admin.URL, "http://")).Want(t, 200)
	if c := a.Header.Get("Set-Cookie"); !strings.HasPrefix(c, "__Host-perfgate=usr_") || !strings.Contains(c, "; Secure") || strings.Contains(c, "Domain") {
		t.Errorf("cookie %q", c)
	}
	// An unknown address and a wrong password answer alike.
	wrong := g.SignIn(map[string]string{"email": "ada@example.com", "password": "wrong password"}).Want(t, 401, fault.InvalidCredentials)
	nobody := g.SignIn(map[string]string{"email": "bob@example.com", "password": "wrong password"}).Want(t, 401, fault.InvalidCredentials)
	if wrong.Message() != nobody.Message() {
		t.Errorf("%q and %q", wrong.Message(), nobody.Message())
	}
	op := g.SignIn(map[string]string{"token": apitest.OperatorToken}).Want(t, 200)
	if op.Text("role") != "operator" || !strings.HasPrefix(op.Text("id"), "op_") || !strings.HasPrefix(apitest.Cookie(op), "perfgate=op_") {
		t.Errorf("%s", op.Body)
	}
	g.SignIn(map[string]string{"token": "pgop_wrong"}).Want(t, 401, fault.InvalidCredentials)
	for _, body := range []string{`{}`, `{"email":"a"}`, `{"email":"a","token":"b"}`} {
		g.Do(g.Admin.URL, "POST", "/v1/session", "", body).Want(t, 422)
	}
	apitest.Must(t, g.Local.Flush())
	if e := g.Events("?action=session.create&outcome=denied"); len(e) < 4 {
		t.Errorf("failed sign-ins: %+v", e)
	}
}

// A session needs its origin and header for changes, its host always, and ends idle, at
// its latest end, when it is ended, or signed out.
func TestSession(t *testing.T) {
	g := apitest.New(t)
	ada := g.Person("ada@example.com", "owner", "")
	bare := func(method, path, body string, headers ...string) apitest.Answer {
		return g.Do(g.Admin.URL, method, path, "", body, append([]string{"Cookie", ada.Cookie}, headers...)...)
	}
	key := `{"name":"n","type":"test"}`
	bare("GET", "/v1/keys", "").Want(t, 200)
	bare("POST", "/v1/keys", key).Want(t, 403, fault.Forbidden)
	bare("POST", "/v1/keys", key, "X-Perf-Request", "1").Want(t, 403, fault.Forbidden)
	bare("POST", "/v1/keys", key, "Origin", g.Admin.URL).Want(t, 403, fault.Forbidden)
	bare("POST", "/v1/keys", key, "Origin", "http://127.0.0.1:1", "X-Perf-Request", "1").Want(t, 403, fault.Forbidden)
	bare("POST", "/v1/keys", key, "Origin", g.Admin.URL, "X-Perf-Request", "1").Want(t, 201)
	// The cookie is nothing on the proxy listener.
	if a := g.Do(g.Proxy.URL, "GET", "/v1/keys", "", "", "Cookie", ada.Cookie); a.Status != 401 {
		t.Errorf("on the proxy listener: %d", a.Status)
	}
	for _, cookie := range []string{"perfgate=x", "perfgate=" + ada.ID + ".wrong", "perfgate=usr_none.x", "perfgate=a/b.x", ada.Cookie + "x"} {
		g.Do(g.Admin.URL, "GET", "/v1/keys", "", "", "Cookie", cookie).Want(t, 401, fault.InvalidSession)
	}
	// Idle: each call within the time prolongs it.
	for range 4 {
		g.Now.Add(int64(20 * time.Minute))
		ada.Do("GET", "/v1/session", "").Want(t, 200)
	}
	g.Now.Add(int64(31 * time.Minute))
	ada.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession)
	// The latest end.
	again := func() {
		ada.Cookie = apitest.Cookie(g.SignIn(map[string]string{"email": ada.Email, "password": apitest.Password}).Want(t, 200))
	}
	again()
	for range 12*60/25 + 1 {
		ada.Do("GET", "/v1/session", "")
		g.Now.Add(int64(25 * time.Minute))
	}
	ada.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession)
	// Ended from another session, and signed out.
	again()
	first := *ada
	again()
	list := ada.Do("GET", "/v1/sessions", "").Want(t, 200).JSON["data"].([]any)
	if len(list) != 2 {
		t.Fatalf("%v", list)
	}
	for _, s := range list {
		if s := s.(map[string]any); s["current"] == false {
			ada.Do("DELETE", "/v1/sessions/"+s["id"].(string), "").Want(t, 200)
		}
	}
	first.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession)
	a := ada.Do("DELETE", "/v1/session", "").Want(t, 200)
	if c := a.Header.Get("Set-Cookie"); !strings.Contains(c, "perfgate=;") || !strings.Contains(c, "Max-Age=0") || a.JSON["revocation"] == nil {
		t.Errorf("%q %s", c, a.Body)
	}
	ada.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession)
	ada.Do("DELETE", "/v1/sessions/ses_0", "").Want(t, 401)
}

func TestSecondFactor(t *testing.T) {
	g := apitest.New(t)
	ada := g.Person("ada@example.com", "viewer", "")
	secret := ada.Do("POST", "/v1/session/second-factor", "").Want(t, 200).Text("secret")
	code := func() string {
		now, _ := g.Config.Clock()
		c, err := totp.GenerateCode(secret, now)
		apitest.Must(t, err)
		return c
	}
	ada.Do("PUT", "/v1/session/second-factor", `{"password":"wrong password","secret":"`+secret+`","code":"`+code()+`"}`).Want(t, 401, fault.InvalidCredentials)
	ada.Do("PUT", "/v1/session/second-factor", `{"password":"`+apitest.Password+`","secret":"`+secret+`","code":"abcdef"}`).Want(t, 422)
	a := ada.Do("PUT", "/v1/session/second-factor", `{"password":"`+apitest.Password+`","secret":"`+secret+`","code":"`+code()+`"}`).Want(t, 200)
	recovery := a.JSON["recovery_codes"].([]any)
	if len(recovery) != 10 || a.JSON["second_factor"] != true {
		t.Fatalf("%s", a.Body)
	}
	in := func(code string) apitest.Answer {
		with := map[string]string{"email": ada.Email, "password": apitest.Password}
		if code != "" {
			with["code"] = code
		}
		return g.SignIn(with)
	}
	in("").Want(t, 401, fault.SecondFactorRequired)
	in(code()).Want(t, 401, fault.InvalidCredentials) // it turned the factor on
	g.Now.Add(int64(30 * time.Second))
	in(code()).Want(t, 200)
	in(code()).Want(t, 401, fault.InvalidCredentials)
	in(recovery[0].(string)).Want(t, 200)
	in(strings.ToUpper(recovery[0].(string))).Want(t, 401, fault.InvalidCredentials)
	in(strings.ReplaceAll(strings.ToUpper(recovery[1].(string)), "-", "")).Want(t, 200)
	// No secret is in any answer or audit event.
	raw, _ := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	events := g.Op("GET", "/v1/audit-logs", "").Body + g.Op("GET", "/v1/users/"+ada.ID, "").Body
	for _, s := range []string{secret, string(raw), "argon2id", recovery[2].(string), apitest.Password} {
		if strings.Contains(events, s) {
			t.Errorf("%q is shown", s)
		}
	}
	// A reset link asks for the code, unless it removes the factor.
	reset := func(body string) string {
		a := g.Op("POST", "/v1/users/"+ada.ID+"/reset", body).Want(t, 200)
		u, _ := url.Parse(a.Text("setup_url"))
		return u.Query().Get("token")
	}
	g.SignIn(map[string]string{"token": reset("")}).Want(t, 401, fault.SecondFactorRequired)
	g.SignIn(map[string]string{"token": reset(`{"second_factor":true}`)}).Want(t, 200)
	in("").Want(t, 200)
}

// Guessing is delayed, and cannot lock the user out of an address that they use.
func TestGuessing(t *testing.T) {
	g := apitest.New(t)
	ada := g.Person("ada@example.com", "owner", "")
	in := func(password, from string) apitest.Answer {
		return g.SignIn(map[string]string{"email": ada.Email, "password": password}, "X-Forwarded-For", from)
	}
	in(apitest.Password, "198.51.100.7").Want(t, 200)
	tries := 0
	for from := 0; ; from++ {
		a := in("wrong password", "192.0.2."+string(rune('1'+from%9)))
		if a.Status == 429 {
			if a.Code() != string(fault.TooManyFailures) || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s", a.Body)
			}
			break
		}
		if tries++; tries > 40 {
			t.Fatal("guessing is not delayed")
		}
	}
	in(apitest.Password, "192.0.2.200").Want(t, 429) // an address that is not known waits, too
	in(apitest.Password, "198.51.100.7").Want(t, 200)
	g.Now.Add(int64(time.Hour))
	in(apitest.Password, "192.0.2.200").Want(t, 200)
}

// Guesses that come at once are bounded as those that come one after another, although none
// of them is known to be wrong yet.
func TestGuessesAtOnce(t *testing.T) {
	g := apitest.New(t)
	ada := g.Person("ada@example.com", "owner", "")
	var looked atomic.Int64
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			a := g.SignIn(map[string]string{"email": ada.Email, "password": "wrong password"}, "X-Forwarded-For", "192.0.2.1")
			switch a.Status {
			case 401:
				looked.Add(1)
			case 429, 503:
			default:
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	all.Wait()
	if n := looked.Load(); n == 0 || n > 10 {
		t.Errorf("%d guesses were looked at, want 1 to 10", n)
	}
}

// An employee leaves: no session, no set-up link, no key that they made.
func TestSessionLink(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	g.Unchecked = true // a fault of the form is on the page and not in JSON
	send := func(path, origin string) apitest.Answer {
		_, query, _ := strings.Cut(path, "?")
		return g.Do(g.Admin.URL, "POST", "/signin/link", "", query, "Content-Type", "application/x-www-form-urlencoded", "Origin", origin)
	}
	open := func(body string) (*apitest.Person, string) {
		a := g.Op("POST", "/v1/session-links", body).Want(t, 201)
		path := strings.TrimPrefix(a.Text("url"), g.Admin.URL)
		// Looking at it, as a preview does, uses nothing up.
		for range 2 {
			g.Do(g.Admin.URL, "HEAD", path, "", "").Want(t, 200)
			if look := g.Do(g.Admin.URL, "GET", path, "", "").Want(t, 200); apitest.Cookie(look) != "" || !strings.Contains(look.Body, "<button") {
				t.Errorf("%s, cookie %q", look.Body, apitest.Cookie(look))
			}
		}
		send(path, "https://evil.example").Want(t, 403, fault.Forbidden)
		page := send(path, g.Admin.URL).Want(t, 200)
		if !strings.Contains(page.Body, `href="/">Continue`) || !strings.Contains(page.Body, `rel="stylesheet"`) || !strings.Contains(page.Header.Get("Content-Security-Policy"), "style-src 'self'") {
			t.Errorf("%s", page.Body)
		}
		return &apitest.Person{Cookie: apitest.Cookie(page), Rig: g}, path
	}
	p, path := open(`{"account":"` + acct + `"}`)
	if a := send(path, g.Admin.URL).Want(t, 401); !strings.Contains(a.Body, "used already") || strings.Contains(a.Body, "<form") || !strings.Contains(a.Body, `href="/signin"`) {
		t.Errorf("%s", a.Body)
	}
	p.Do("POST", "/v1/keys", `{"name":"picked up","type":"live"}`).Want(t, 201)
	if a := p.Do("GET", "/v1/session", ""); a.Text("account") != acct || a.JSON["role"] != nil {
		t.Errorf("%s", a.Body)
	}
	for _, c := range []string{"/v1/users", "/v1/accounts", "/v1/operator-tokens"} {
		p.Do("GET", c, "").Want(t, 403, fault.Forbidden)
	}
	p.Do("GET", "/v1/account", "", "X-Perf-Account", "default").Want(t, 403)
	g.Now.Add(int64(59 * time.Minute))
	p.Do("GET", "/v1/account", "").Want(t, 200)
	g.Now.Add(int64(2 * time.Minute))
	p.Do("GET", "/v1/account", "").Want(t, 401, fault.InvalidSession)
	reader, _ := open(`{"account":"` + acct + `","scopes":["read"]}`)
	reader.Do("GET", "/v1/usage", "").Want(t, 200)
	reader.Do("GET", "/v1/keys", "").Want(t, 403, fault.InsufficientScope)
	// A link ends by itself, and needs its account.
	late := g.Op("POST", "/v1/session-links", `{"account":"`+acct+`","ttl":"1m"}`).Want(t, 201)
	g.Now.Add(int64(2 * time.Minute))
	send(late.Text("url"), g.Admin.URL).Want(t, 401)
	for _, body := range []string{`{"account":"acct_none"}`, `{"ttl":"25h"}`, `{"ttl":"soon"}`, `{"scopes":[]}`} {
		g.Op("POST", "/v1/session-links", body).Want(t, 422)
	}
	if e := g.Events("?action=session_link.create&outcome=success"); len(e) != 0 {
		t.Errorf("events of the default account: %+v", e)
	}
	opened := g.Op("GET", "/v1/audit-logs?action=session_link.open&outcome=success", "", "X-Perf-Account", acct)
	if len(opened.JSON["data"].([]any)) != 2 {
		t.Errorf("%s", opened.Body)
	}
}

// A set-up token that signs in without a password is not used up: whoever closes the browser
// before they have set one needs it again. A password ends it, wherever it is set.
func TestSetupTokenLastsUntilAPassword(t *testing.T) {
	g := apitest.New(t)
	for name, end := range map[string]func(setup string, first *apitest.Person){
		"in the session": func(_ string, first *apitest.Person) {
			first.Do("PUT", "/v1/session/password", `{"password":"`+apitest.Password+`"}`).Want(t, 200)
		},
		"15 minutes after the first use": func(setup string, _ *apitest.Person) {
			g.Now.Add(int64(store.SetupAgain))
		},
		"with the token": func(setup string, _ *apitest.Person) {
			g.SignIn(map[string]string{"token": setup, "password": apitest.Password}).Want(t, 200)
		},
	} {
		_, setup := g.Setup(strings.ReplaceAll(name, " ", "-")+"@example.com", "developer", "")
		var first *apitest.Person
		for range 2 {
			first = &apitest.Person{Cookie: apitest.Cookie(g.SignIn(map[string]string{"token": setup}).Want(t, 200)), Rig: g}
			first.Do("GET", "/v1/keys", "").Want(t, 200)
		}
		end(setup, first)
		g.SignIn(map[string]string{"token": setup}).Want(t, 401, fault.InvalidCredentials)
		g.SignIn(map[string]string{"token": setup, "password": apitest.Password}).Want(t, 401, fault.InvalidCredentials)
	}
}

// The page of a set-up link works without script, and looking at it uses nothing up.
func TestSetupPage(t *testing.T) {
	g := apitest.New(t)
	g.Unchecked = true // a fault of the form is on the page and not in JSON
	id, token := g.Setup("ada@example.com", "owner", "")
	for range 2 {
		page := g.Do(g.Admin.URL, "GET", "/signin/setup?token="+token, "", "").Want(t, 200)
		if !strings.Contains(page.Body, `value="`+token+`"`) || !strings.HasPrefix(page.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s", page.Body)
		}
	}
	send := func(origin, password string) apitest.Answer {
		form := url.Values{"token": {token}, "password": {password}}.Encode()
		return g.Do(g.Admin.URL, "POST", "/signin/setup", "", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", origin)
	}
	send("https://evil.example", apitest.Password).Want(t, 403, fault.Forbidden)
	send("null", apitest.Password).Want(t, 403, fault.Forbidden)
	if a := send(g.Admin.URL, "short").Want(t, 422); !strings.Contains(a.Body, "must have 8 to 256") || !strings.Contains(a.Body, "<form") {
		t.Errorf("%s", a.Body)
	}
	p := &apitest.Person{Cookie: apitest.Cookie(send(g.Admin.URL, apitest.Password).Want(t, 200)), Rig: g}
	if a := p.Do("GET", "/v1/session", "").Want(t, 200); a.Text("id") != id {
		t.Errorf("%s", a.Body)
	}
	if a := send(g.Admin.URL, apitest.Password).Want(t, 401); !strings.Contains(a.Body, "used already") || strings.Contains(a.Body, "<form") || !strings.Contains(a.Body, `href="/signin"`) {
		t.Errorf("%s", a.Body)
	}
	if a := g.Do(g.Admin.URL, "GET", `/signin/setup?token=%22%3E%3Cscript%3E`, "", "").Want(t, 200); strings.Contains(a.Body, "<script") {
		t.Errorf("%s", a.Body)
	}
}

// No secret of a person is in a command, an answer, an event or the log, but for the
// secret of an authenticator, which the state must keep.
func TestSecretsOfPeopleAreNowhere(t *testing.T) {
	g := apitest.New(t)
	_, setup := g.Setup("ada@example.com", "owner", "")
	ada := &apitest.Person{Cookie: apitest.Cookie(g.SignIn(map[string]string{"token": setup, "password": apitest.Password}).Want(t, 200)), Rig: g}
	link := g.Op("POST", "/v1/session-links", `{}`, "Idempotency-Key", "l").Want(t, 201)
	u, err := url.Parse(link.Text("url"))
	apitest.Must(t, err)
	token := ada.Do("GET", "/v1/session", "").Want(t, 200)
	op := g.Op("POST", "/v1/operator-tokens", `{"name":"n"}`, "Idempotency-Key", "t").Want(t, 201).Text("token")
	g.SignIn(map[string]string{"email": "ada@example.com", "password": "a wrong password"}).Want(t, 401)
	again := g.Op("POST", "/v1/session-links", `{}`, "Idempotency-Key", "l").Want(t, 200)
	if again.JSON["url"] != nil || again.JSON["secret_withheld"] != true {
		t.Errorf("the repeat: %s", again.Body)
	}
	apitest.Must(t, g.Local.Flush())
	seen := g.Backend.Commands() + g.Log.String() + token.Body + again.Body
	for _, path := range []string{"/v1/users", "/v1/sessions", "/v1/audit-logs", "/v1/audit-logs?format=csv", "/v1/operator-tokens", "/metrics"} {
		seen += g.Op("GET", path, "").Body
	}
	_, session, _ := strings.Cut(ada.Cookie, ".")
	for _, s := range []string{setup, u.Query().Get("token"), op, session, apitest.Password, "a wrong password"} {
		if s == "" || strings.Contains(seen, s) {
			t.Errorf("%.12s… is shown", s)
		}
	}
}

// A link that nobody was given is refused without an entry in the log.
func TestMadeUpLinks(t *testing.T) {
	g := apitest.New(t)
	before := g.Backend.Proposed.Load()
	for range 5 {
		g.SignIn(map[string]string{"token": "pgln_default_0123456789abcdefghij"}).Want(t, 401)
	}
	if n := g.Backend.Proposed.Load() - before; n != 0 {
		t.Errorf("%d entries", n)
	}
}

// A set-up link ends when the user's role or password changes.
func TestSetupLinkOfAnEarlierRole(t *testing.T) {
	g := apitest.New(t)
	id, token := g.Setup("ada@example.com", "viewer", "")
	g.Op("PATCH", "/v1/users/"+id, `{"role":"owner"}`).Want(t, 200)
	g.SignIn(map[string]string{"token": token, "password": apitest.Password}).Want(t, 401)
}

// An admin may make links, and neither the admin nor the link may do what only owners may.
func TestLinkOfAnAdmin(t *testing.T) {
	g := apitest.New(t)
	p := g.Person("ada@example.com", "admin", "")
	p.Do("POST", "/v1/session-links", `{}`).Want(t, 201)
	p.Do("POST", "/v1/users", `{"email":"b@example.com","role":"owner"}`).Want(t, 403, fault.Forbidden)
	p.Do("PATCH", "/v1/account", `{"retention_days":7}`).Want(t, 403, fault.Forbidden)
}
