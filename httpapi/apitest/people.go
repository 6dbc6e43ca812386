package apitest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Person is a user who is signed in.
type Person struct {
	ID     string
	Email  string
	Cookie string
	Rig    *Rig
}

// Password is the password of every [Person].
const Password = "correct horse battery"

// Setup makes a user and returns their id and set-up token. account may be "".
func (g *Rig) Setup(email, role, account string) (id, token string) {
	g.T.Helper()
	body, _ := json.Marshal(map[string]string{"email": email, "name": role + " of " + email, "role": role})
	if account == "" {
		account = "default"
	}
	a := g.Op("POST", "/v1/users", string(body), "X-Perf-Account", account).Want(g.T, 201)
	u, err := url.Parse(a.Text("setup_url"))
	Must(g.T, err)
	return a.Text("id"), u.Query().Get("token")
}

// Person makes a user with [Password] and signs them in.
func (g *Rig) Person(email, role, account string) *Person {
	g.T.Helper()
	id, token := g.Setup(email, role, account)
	a := g.SignIn(map[string]string{"token": token, "password": Password}).Want(g.T, 200)
	return &Person{id, email, Cookie(a), g}
}

// SignIn signs in with credentials.
func (g *Rig) SignIn(with map[string]string, headers ...string) Answer {
	g.T.Helper()
	body, _ := json.Marshal(with)
	return g.Do(g.Admin.URL, "POST", "/v1/session", "", string(body), headers...)
}

// Cookie is the cookie that an answer set, as a request sends it; "" if there is none.
func Cookie(a Answer) string {
	r := http.Response{Header: a.Header}
	for _, c := range r.Cookies() {
		if strings.HasSuffix(c.Name, "perfgate") {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// Do makes a call as a page of the dashboard does.
func (p *Person) Do(method, path, body string, headers ...string) Answer {
	p.Rig.T.Helper()
	base := []string{"Cookie", p.Cookie, "Origin", p.Rig.Admin.URL, "X-Perf-Request", "1"}
	return p.Rig.Do(p.Rig.Admin.URL, method, path, "", body, append(base, headers...)...)
}
