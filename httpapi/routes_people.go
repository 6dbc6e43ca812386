package httpapi

import (
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/httpapi/ui"
)

// personal marks the calls of somebody who is signed in about themselves, and ofPeople
// those that no key may make.
const (
	personal = rest.Personal | rest.NoKeys
	ofPeople = rest.NoKeys
)

// access are the handlers of the calls about people and their access.
type access struct {
	tokens   manage.Tokens
	users    manage.Users
	sessions manage.Sessions
	links    manage.Links
	oidc     manage.OIDC
	erasures manage.Erasures
	data     manage.AccountData
}

func (t *topics) addPeople(cfg *Config) {
	t.tokens = manage.Tokens{Store: cfg.Store, Uses: cfg.Observed}
	t.users = manage.Users{Store: cfg.Store.People(), Keys: &t.keys, All: cfg.Store}
	t.sessions = manage.Sessions{Store: cfg.Store.People(), Limits: cfg.SignIn, Hashes: signin.NewHashes(), Guard: signin.NewGuard(), Style: ui.Stylesheet()}
	t.oidc = manage.OIDC{Provider: cfg.OIDC, Subjects: cfg.Store.People(), Sessions: &t.sessions, Pepper: cfg.Store.Pepper}
	t.erasures = manage.Erasures{Store: cfg.Store}
	t.data = manage.AccountData{
		Accounts: &t.accounts, Allowlist: &t.allowlist, Keys: &t.keys, Users: &t.users, Sessions: &t.sessions, Webhooks: &t.webhooks,
		Incidents: &t.incidents, Erasures: &t.erasures, Audit: &t.audit, Observed: cfg.Observed,
	}
	t.links = manage.Links{Store: cfg.Store.People(), Sessions: &t.sessions}
}

// people lists the calls about people and their access.
func (t *topics) people() []*rest.Route {
	return []*rest.Route{
		{ID: "signIn", Method: post, Path: "/v1/session", Action: "session.create", Access: rest.Open | rest.Unmetered, Serve: rest.WithBody(t.sessions.SignIn)},
		{ID: "session", Method: get, Path: "/v1/session", Action: "session.read", Access: personal | rest.Quiet, Serve: rest.WithoutBody(t.sessions.Read)},
		{ID: "signOut", Method: del, Path: "/v1/session", Action: "session.delete", Access: personal, Serve: rest.WithoutBody(t.sessions.SignOut)},
		{ID: "setPassword", Method: put, Path: "/v1/session/password", Action: "user.password", Access: personal, Serve: rest.WithBody(t.sessions.SetPassword)},
		{ID: "newSecondFactor", Method: post, Path: "/v1/session/second-factor", Action: "user.second_factor", Access: personal | rest.Quiet, Serve: rest.WithoutBody(t.sessions.NewFactor)},
		{ID: "setSecondFactor", Method: put, Path: "/v1/session/second-factor", Action: "user.second_factor", Access: personal, Serve: rest.WithBody(t.sessions.SetFactor)},
		{ID: "removeSecondFactor", Method: post, Path: "/v1/session/second-factor/remove", Action: "user.second_factor", Access: personal, Serve: rest.WithBody(t.sessions.RemoveFactor)},
		{ID: "listSessions", Method: get, Path: "/v1/sessions", Action: "session.list", Access: personal, Query: []string{"user", "limit", "cursor"}, Serve: rest.WithoutBody(t.sessions.List)},
		{ID: "endSession", Method: del, Path: "/v1/sessions/{id}", Action: "session.delete", Access: personal, IDs: "ses_", Serve: rest.WithoutBody(t.sessions.End)},

		{ID: "createUser", Method: post, Path: "/v1/users", Action: "user.create", Scope: admin, Access: ofPeople, Serve: rest.WithBody(t.users.Create)},
		{ID: "listUsers", Method: get, Path: "/v1/users", Action: "user.list", Scope: admin, Access: ofPeople, Query: page, Serve: rest.WithoutBody(t.users.List)},
		{ID: "getUser", Method: get, Path: "/v1/users/{id}", Action: "user.read", Scope: admin, Access: ofPeople, IDs: "usr_", Serve: rest.WithoutBody(t.users.Get)},
		{ID: "updateUser", Method: patch, Path: "/v1/users/{id}", Action: "user.update", Scope: admin, Access: ofPeople, IDs: "usr_", Query: force, Serve: rest.WithBody(t.users.Update)},
		{ID: "deleteUser", Method: del, Path: "/v1/users/{id}", Action: "user.delete", Scope: admin, Access: ofPeople, IDs: "usr_", Query: force, Serve: rest.WithoutBody(t.users.Delete)},
		{ID: "disableUser", Method: post, Path: "/v1/users/{id}/disable", Action: "user.disable", Scope: admin, Access: ofPeople, IDs: "usr_", Query: force, Serve: rest.WithOptionalBody(t.users.Disable)},
		{ID: "resetUser", Method: post, Path: "/v1/users/{id}/reset", Action: "user.reset", Scope: admin, Access: ofPeople, IDs: "usr_", Query: force, Serve: rest.WithOptionalBody(t.users.Reset)},

		{ID: "accountData", Method: get, Path: "/v1/account/data", Action: "account.export", Scope: admin, Access: ofPeople, Serve: t.data.Read},
		{ID: "eraseAccountData", Method: del, Path: "/v1/account/data", Action: "erasure.create", Scope: admin, Access: ofPeople, Serve: rest.WithBody(t.erasures.Create)},
		{ID: "listErasures", Method: get, Path: "/v1/account/erasures", Action: "erasure.list", Scope: admin, Access: ofPeople | rest.History, Query: page, Serve: rest.WithoutBody(t.erasures.List)},
		{ID: "getErasure", Method: get, Path: "/v1/account/erasures/{id}", Action: "erasure.read", Scope: admin, Access: ofPeople | rest.History, IDs: "ers_", Serve: rest.WithoutBody(t.erasures.Get)},
		{ID: "cancelErasure", Method: post, Path: "/v1/account/erasures/{id}/cancel", Action: "erasure.cancel", Scope: admin, Access: ofPeople, IDs: "ers_", Serve: rest.WithOptionalBody(t.erasures.Cancel)},

		{ID: "createSessionLink", Method: post, Path: "/v1/session-links", Action: "session_link.create", Scope: admin, Access: ofPeople, Serve: rest.WithBody(t.links.Create)},
		{ID: "sessionLinkPage", Method: get, Path: "/signin/link", Access: rest.Open, Query: []string{"token"}, Serve: t.links.Page},
		{ID: "openSessionLink", Method: post, Path: "/signin/link", Action: "session_link.open", Access: rest.Open | rest.Unmetered, Serve: t.links.Open},

		{ID: "setupPage", Method: get, Path: "/signin/setup", Access: rest.Open, Query: []string{"token"}, Serve: t.sessions.SetupPage},
		{ID: "setup", Method: post, Path: "/signin/setup", Action: "session.create", Access: rest.Open | rest.Unmetered, Serve: t.sessions.Setup},
		{ID: "signInOIDC", Method: get, Path: "/signin/oidc", Access: rest.Open, Serve: t.oidc.Begin},
		{ID: "signInOIDCCallback", Method: get, Path: "/signin/oidc/callback", Action: "session.create", Access: rest.Open, Serve: t.oidc.End},

		{ID: "createOperatorToken", Method: post, Path: "/v1/operator-tokens", Action: "operator_token.create", Scope: admin, Access: operators, Serve: rest.WithBody(t.tokens.Create)},
		{ID: "listOperatorTokens", Method: get, Path: "/v1/operator-tokens", Action: "operator_token.list", Scope: admin, Access: operators, Query: page, Serve: rest.WithoutBody(t.tokens.List)},
		{ID: "deleteOperatorToken", Method: del, Path: "/v1/operator-tokens/{id}", Action: "operator_token.delete", Scope: admin, Access: operators, IDs: "op_", Query: force, Serve: rest.WithoutBody(t.tokens.Delete)},
	}
}

// rolesOf are the roles that may make a call, where they are not those of its kind: see
// withRoles.
var rolesOf = map[string]rest.Roles{
	"createKey": rest.Makers, "updateKey": rest.Makers, "rotateKey": rest.Makers, "revokeKey": rest.Makers,
	"listKeys": rest.Everyone, "getKey": rest.Everyone, "keyNodes": rest.Everyone,
	"usage": rest.Everyone, "keyUsage": rest.Everyone, "limits": rest.Everyone, "simulateLimits": rest.Everyone,
	"createUser": rest.Owners, "listUsers": rest.Owners, "getUser": rest.Owners, "updateUser": rest.Owners,
	"deleteUser": rest.Owners, "disableUser": rest.Owners, "resetUser": rest.Owners,
	"accountData": rest.Owners, "eraseAccountData": rest.Owners, "listErasures": rest.Owners, "getErasure": rest.Owners, "cancelErasure": rest.Owners,
}

// withRoles states which roles may make each call: those that read everything in the account
// may make calls that read, those that change it the others. A call for operators is for none.
func withRoles(routes []*rest.Route) []*rest.Route {
	for _, rt := range routes {
		roles, ok := rolesOf[rt.ID]
		switch {
		case rt.Access&(rest.Operators|rest.Open|rest.Personal) != 0:
		case ok:
			rt.Roles = roles
		case rt.Method == get:
			rt.Roles = rest.Auditors
		default:
			rt.Roles = rest.Managers
		}
	}
	return routes
}
