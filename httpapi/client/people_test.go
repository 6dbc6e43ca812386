package client_test

import (
	"context"

	"github.com/perfgate/perfgate/httpapi/client"
)

// peopleCalls are those about users and sessions.
var peopleCalls = []apiCall{
	{"Users.Create", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).Create(ctx, client.NewUser{Email: "a@example.com", Role: "owner"})
	}, "POST /v1/users", `{"email":"a@example.com","role":"owner"}`},
	{"Users.List", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).List(ctx, client.Page{})
	}, "GET /v1/users", ""},
	{"Users.Get", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).Get(ctx, "usr_1")
	}, "GET /v1/users/usr_1", ""},
	{"Users.Update", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).Update(ctx, "usr_1", client.Patch{"role": "viewer"})
	}, "PATCH /v1/users/usr_1", `{"role":"viewer"}`},
	{"Users.Delete", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).Delete(ctx, "usr_1")
	}, "DELETE /v1/users/usr_1", ""},
	{"Users.Disable", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).Disable(ctx, "usr_1", true)
	}, "POST /v1/users/usr_1/disable", `{"revoke_keys":true}`},
	{"Users.Reset", func(ctx context.Context, c *client.Client) (any, error) {
		return client.UsersOf(c).Reset(ctx, "usr_1", false)
	}, "POST /v1/users/usr_1/reset", `{"second_factor":false}`},
	{"Sessions.SignIn", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).SignIn(ctx, client.Credentials{Email: "a@example.com", Password: "p"})
	}, "POST /v1/session", `{"email":"a@example.com","password":"p"}`},
	{"Sessions.Current", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).Current(ctx)
	}, "GET /v1/session", ""},
	{"Sessions.SignOut", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).SignOut(ctx)
	}, "DELETE /v1/session", ""},
	{"Sessions.SetPassword", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).SetPassword(ctx, "new", "old")
	}, "PUT /v1/session/password", `{"current":"old","password":"new"}`},
	{"Sessions.NewSecondFactor", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).NewSecondFactor(ctx)
	}, "POST /v1/session/second-factor", ""},
	{"Sessions.SetSecondFactor", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).SetSecondFactor(ctx, "p", "S", "123456")
	}, "PUT /v1/session/second-factor", `{"code":"123456","password":"p","secret":"S"}`},
	{"Sessions.RemoveSecondFactor", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).RemoveSecondFactor(ctx, "p")
	}, "POST /v1/session/second-factor/remove", `{"password":"p"}`},
	{"Sessions.List", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).List(ctx, "usr_1", client.Page{})
	}, "GET /v1/sessions?user=usr_1", ""},
	{"Sessions.End", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).End(ctx, "ses_1")
	}, "DELETE /v1/sessions/ses_1", ""},
	{"Sessions.CreateLink", func(ctx context.Context, c *client.Client) (any, error) {
		return client.SessionsOf(c).CreateLink(ctx, client.NewSessionLink{Account: "acct_1"})
	}, "POST /v1/session-links", `{"account":"acct_1"}`},
}

// twoKeys are the ids of a call about several keys.
var twoKeys = []string{"key_1", "key_2"}
