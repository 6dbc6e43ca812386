package ui_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/signin"
)

// TestSecondFactor sets a second factor up as a person does, signs in with it and with a
// recovery code, and turns it off.
func TestSecondFactor(t *testing.T) {
	g := newRig(t)
	owner := g.as("owner")
	if !owner.get("/sessions").want(200).links("/second-factor") {
		t.Fatal("there is no way to the page")
	}
	owner.get("/second-factor").want(200).says("off", "Set it up")
	p := owner.post("/second-factor", url.Values{"do": {"new"}}).want(200).says("Scan the code")
	if len(p.all("path", "ink")) != 1 || p.header.Get("Cache-Control") != "no-store" {
		t.Fatal("there is no code to scan, or browsers keep the page")
	}
	secret := p.field("secret")
	code := func() string {
		now, _ := g.Config.Clock()
		s, err := totp.GenerateCode(secret, now)
		apitest.Must(t, err)
		return s
	}
	form := p.values("/second-factor")
	again := owner.post("/second-factor", with(form, "code", "000000", "password", apitest.Password)).want(422).says("not the present code")
	if again.field("secret") != secret || len(again.all("path", "ink")) != 1 {
		t.Fatal("a typing error makes another secret necessary")
	}
	owner.post("/second-factor", with(form, "code", code(), "password", "wrong")).want(401).says("not the present password")
	done := owner.post("/second-factor", with(form, "code", code(), "password", apitest.Password)).want(200).says("Recovery codes, shown once")
	recovery := strings.Fields(textOf(done.all("pre", "codes")[0]))
	if len(recovery) != signin.RecoveryCodes || owner.get("/second-factor").want(200).says("on").links(recovery[0]) {
		t.Fatalf("%d recovery codes", len(recovery))
	}
	in := func(code string) *shown {
		b := *g
		b.cookie = ""
		return b.post("/signin", url.Values{"email": {"owner@example.com"}, "password": {apitest.Password}, "code": {code}})
	}
	in("").want(401)
	g.Now.Add(int64(time.Minute)) // a code is accepted once
	in(code()).want(303)
	in(recovery[0]).want(303)
	in(recovery[0]).want(401)
	owner.post("/second-factor", url.Values{"do": {"remove"}, "password": {"wrong"}}).want(401)
	owner.post("/second-factor", url.Values{"do": {"remove"}, "password": {apitest.Password}}).want(303)
	in("").want(303)
}

// TestProvider: the way to the provider is there if one is configured.
func TestProvider(t *testing.T) {
	g := newRig(t)
	g.cookie = ""
	if g.get("/signin").want(200).links("/signin/oidc") {
		t.Fatal("a provider is offered that is not configured")
	}
	g = &rig{t: t, Rig: apitest.New(t, func(c *httpapi.Config) {
		c.OIDC = signin.NewOIDC(signin.OIDCConfig{Issuer: "https://login.example.com/realm"})
	})}
	g.pages = g.Admin
	if !g.get("/signin").want(200).says("Sign in with login.example.com").links("/signin/oidc") {
		t.Fatal("the provider is not offered")
	}
}
