package httpapi

import (
	"net/http"
	"slices"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// The route table's own short names.
const (
	get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

	admin, read, verify, limit = store.ScopeAdmin, store.ScopeRead, store.ScopeVerify, store.ScopeLimit

	onProxy   = rest.OnProxy
	operators = rest.Operators | rest.Global // no call of an operator's alone is about one account
	probe     = rest.Open | rest.OnProxy | rest.Quiet
)

// The parameters of the calls that share them or have many.
var (
	page       = []string{"limit", "cursor"}
	force      = []string{"force"}
	keyQuery   = []string{"type", "state", "environment", "name", "created_by", "q", "due", "sort", "limit", "cursor"}
	usageQuery = []string{"from", "to", "step", "key", "type", "environment", "route", "method", "country", "status", "group_by"}
	auditQuery = []string{"start_date", "end_date", "key", "event_type", "user", "action", "outcome", "log", "order", "format", "bom", "limit", "cursor"}
)

// topics are the handlers of the calls, each with the parts that it needs.
type topics struct {
	keys      manage.Keys
	leaks     *manage.Leaks
	verify    manage.Verify
	ratelimit manage.RateLimit
	allowlist manage.Allowlist
	usage     manage.Usage
	security  manage.Security
	limits    manage.Limits
	simulate  manage.Simulate
	audit     manage.Audit
	accounts  manage.Accounts
	webhooks  manage.Webhooks
	incidents manage.Incidents
	tiers     manage.Tiers
	cluster   manage.Cluster
	keyring   manage.Keyring
	report    manage.Compliance
	access
	backup manage.Backup
	pages  manage.Pages
}

func newTopics(cfg *Config, routes admit.Routes, metrics http.Handler) *topics {
	keys := manage.Keys{Store: cfg.Store, Uses: cfg.Observed, Routes: cfg.Routes}
	t := &topics{
		keys:      keys,
		security:  manage.Security{Keys: &keys, Observed: cfg.Observed},
		leaks:     manage.NewLeaks(cfg.Gate, cfg.Backend, cfg.Logger),
		verify:    manage.Verify{Gate: cfg.Gate, Routes: routes, Observer: cfg.Local},
		ratelimit: manage.RateLimit{Gate: cfg.Gate},
		allowlist: manage.Allowlist{Store: cfg.Store, Trials: store.TrialsIn(cfg.Store)},
		usage:     manage.Usage{Store: cfg.Store, Observed: cfg.Observed},
		audit:     manage.Audit{Log: cfg.Audit, People: cfg.Store.People()},
		simulate:  manage.Simulate{Local: cfg.Local},
		limits:    manage.Limits{Gate: cfg.Gate, Store: cfg.Store},
		accounts:  manage.Accounts{Store: cfg.Store, Residency: cfg.Residency},
		incidents: manage.Incidents{Store: cfg.Store, Keys: manage.Keys{Store: cfg.Store, Uses: cfg.Observed, Routes: cfg.Routes}, Audit: cfg.Audit},
		webhooks:  manage.Webhooks{Store: cfg.Store, Wait: cfg.WebhookWait, Private: cfg.WebhookPrivate},
		tiers:     manage.Tiers{Store: cfg.Store},
		cluster:   manage.Cluster{Node: cfg.Backend, Keys: &keys},
		keyring:   manage.Keyring{Vault: cfg.Backend, Store: cfg.Store},
		report:    manage.Compliance{Store: cfg.Store, Node: cfg.Backend, Residency: cfg.Residency},
		backup:    manage.Backup{Store: cfg.Store, Node: cfg.Source.Node, Version: cfg.Source.Version, Voters: cfg.Source.Voters},
		pages: manage.Pages{
			Ready: cfg.Backend.Ready, SecurityTxt: cfg.SecurityTxt, OpenAPI: openAPI,
			Metrics: metrics, MetricsOpen: cfg.MetricsOpen,
		},
	}
	t.addPeople(cfg)
	return t
}

// routes lists every call: the one place that states how it is reached.
// openapi.yaml describes the same calls and the client has a method for each; a
// test holds the three together.
func (t *topics) routes() []*rest.Route {
	metricsAccess := operators | rest.Quiet
	if t.pages.MetricsOpen {
		metricsAccess = rest.Open | rest.Quiet
	}
	return withTags(withRoles(slices.Concat(t.people(), t.insight(), t.webhookRoutes(), t.allowlistRoutes(), []*rest.Route{
		{ID: "createKey", Method: post, Path: "/v1/keys", Action: "key.create", Scope: admin, Access: onProxy, Serve: rest.WithBody(t.keys.Create)},
		{ID: "listKeys", Method: get, Path: "/v1/keys", Action: "key.list", Scope: admin, Access: onProxy, Query: keyQuery, Serve: rest.WithoutBody(t.keys.List)},
		{ID: "getKey", Method: get, Path: "/v1/keys/{id}", Action: "key.read", Scope: admin, Access: onProxy, IDs: "key_", Serve: rest.WithoutBody(t.keys.Get)},
		{ID: "keyNodes", Method: get, Path: "/v1/keys/{id}/nodes", Action: "key.read", Scope: admin, IDs: "key_", Serve: rest.WithoutBody(t.cluster.KeyNodes)},
		{ID: "updateKey", Method: patch, Path: "/v1/keys/{id}", Action: "key.update", Scope: admin, Access: onProxy, IDs: "key_", Query: force, Serve: rest.WithBody(t.keys.Update)},
		{ID: "rotateKey", Method: post, Path: "/v1/keys/{id}/rotate", Action: "key.rotate", Scope: admin, Access: onProxy, IDs: "key_", Serve: rest.WithOptionalBody(t.keys.Rotate)},
		{ID: "revokeKey", Method: post, Path: "/v1/keys/{id}/revoke", Action: "key.revoke", Scope: admin, Access: onProxy, IDs: "key_", Serve: rest.WithOptionalBody(t.keys.Revoke)},
		{ID: "revokeKeys", Method: post, Path: "/v1/keys/revoke", Action: "key.revoke_bulk", Scope: admin, Access: onProxy, Serve: rest.WithBody(t.keys.RevokeMany)},
		{ID: "revokeLeakedKey", Method: post, Path: "/v1/keys/revoke-leaked", Access: rest.Open | onProxy | rest.Optional | rest.Unmetered, Serve: t.leaks.Revoke},
		{ID: "importKeys", Method: post, Path: "/v1/keys/import", Action: "key.import", Scope: admin, Query: []string{"reassign"}, Serve: rest.WithRawBody(t.keys.Import)},
		{ID: "verifyKey", Method: post, Path: "/v1/keys/verify", Action: "key.verify", Scope: verify, Access: onProxy | rest.Unmetered | rest.Quiet, Serve: rest.WithBody(t.verify.Key)},
		{ID: "rateLimit", Method: post, Path: "/v1/ratelimit", Action: "ratelimit", Scope: limit, Access: onProxy | rest.Unmetered | rest.Quiet, Serve: rest.WithBody(t.ratelimit.Charge)},

		{ID: "limits", Method: get, Path: "/v1/limits", Action: "limits.read", Access: onProxy | rest.AnyScope | rest.Quiet, Query: []string{"key", "type"}, Serve: rest.WithoutBody(t.limits.Read)},
		{ID: "simulateLimits", Method: post, Path: "/v1/limits/simulate", Action: "limits.simulate", Scope: read, Access: rest.Quiet, Serve: rest.WithBody(t.simulate.Run)},
		{ID: "auditLogs", Method: get, Path: "/v1/audit-logs", Action: "audit.read", Scope: admin, Access: onProxy | rest.History, Query: auditQuery, Serve: t.audit.Logs},

		{ID: "auditHead", Method: get, Path: "/v1/audit-logs/head", Action: "audit.head", Scope: admin, Access: onProxy, Query: []string{"log"}, Serve: rest.WithoutBody(t.audit.Head)},
		{ID: "rotateAuditKey", Method: post, Path: "/v1/audit-logs/rotate-key", Action: "audit_key.rotate", Scope: admin, Access: operators, Serve: rest.WithoutBody(t.audit.RotateKey)},

		{ID: "getAccount", Method: get, Path: "/v1/account", Action: "account.read", Scope: admin, Access: onProxy, Serve: rest.WithoutBody(t.accounts.GetOwn)},
		{ID: "updateAccount", Method: patch, Path: "/v1/account", Action: "account.update", Scope: admin, Access: onProxy, Serve: rest.WithBody(t.accounts.UpdateOwn)},

		{ID: "createManagedAccount", Method: post, Path: "/v1/accounts", Action: "account.create", Scope: admin, Access: operators, Serve: rest.WithBody(t.accounts.Create)},
		{ID: "listManagedAccounts", Method: get, Path: "/v1/accounts", Action: "account.list", Scope: admin, Access: operators, Query: page, Serve: rest.WithoutBody(t.accounts.List)},
		{ID: "getManagedAccount", Method: get, Path: "/v1/accounts/{id}", Action: "account.read", Scope: admin, Access: operators, IDs: "acct_", Serve: rest.WithoutBody(t.accounts.Get)},
		{ID: "updateManagedAccount", Method: patch, Path: "/v1/accounts/{id}", Action: "account.update", Scope: admin, Access: operators, IDs: "acct_", Serve: rest.WithBody(t.accounts.Update)},
		{ID: "deleteManagedAccount", Method: del, Path: "/v1/accounts/{id}", Action: "account.delete", Scope: admin, Access: operators, IDs: "acct_", Serve: rest.WithoutBody(t.accounts.Delete)},

		{ID: "createTier", Method: post, Path: "/v1/tiers", Action: "tier.create", Scope: admin, Access: operators, Serve: rest.WithBody(t.tiers.Create)},
		{ID: "listTiers", Method: get, Path: "/v1/tiers", Action: "tier.list", Scope: admin, Access: operators, Query: page, Serve: rest.WithoutBody(t.tiers.List)},
		{ID: "getTier", Method: get, Path: "/v1/tiers/{name}", Action: "tier.read", Scope: admin, Access: operators, Serve: rest.WithoutBody(t.tiers.Get)},
		{ID: "updateTier", Method: patch, Path: "/v1/tiers/{name}", Action: "tier.update", Scope: admin, Access: operators, Serve: rest.WithBody(t.tiers.Update)},
		{ID: "deleteTier", Method: del, Path: "/v1/tiers/{name}", Action: "tier.delete", Scope: admin, Access: operators, Serve: rest.WithoutBody(t.tiers.Delete)},

		{ID: "cluster", Method: get, Path: "/v1/cluster", Action: "cluster.read", Scope: admin, Access: operators | rest.Quiet | rest.Anytime, Serve: rest.WithoutBody(t.cluster.Read)},
		{ID: "transferLeadership", Method: post, Path: "/v1/cluster/transfer-leadership", Action: "cluster.transfer", Scope: admin, Access: operators, Query: force, Serve: rest.WithOptionalBody(t.cluster.TransferLeadership)},
		{ID: "removeNode", Method: del, Path: "/v1/cluster/nodes/{name}", Action: "cluster.remove", Scope: admin, Access: operators, Query: force, Serve: rest.WithoutBody(t.cluster.RemoveNode)},
		{ID: "compliance", Method: get, Path: "/v1/compliance", Action: "compliance.read", Scope: admin, Access: operators, Serve: t.report.Read},
		{ID: "keyring", Method: get, Path: "/v1/keyring", Action: "keyring.read", Scope: admin, Access: operators | rest.Anytime, Serve: rest.WithoutBody(t.keyring.Read)},
		{ID: "rotateKEK", Method: post, Path: "/v1/keyring/rotate-kek", Action: "keyring.rotate_kek", Scope: admin, Access: operators, Serve: rest.WithoutBody(t.keyring.RotateKEK)},
		{ID: "rotateDataKey", Method: post, Path: "/v1/keyring/rotate-data", Action: "keyring.rotate_data", Scope: admin, Access: operators, Serve: rest.WithoutBody(t.keyring.RotateData)},
		{ID: "rotatePepper", Method: post, Path: "/v1/keyring/rotate-pepper", Action: "pepper.rotate", Scope: admin, Access: operators, Serve: rest.WithoutBody(t.keyring.RotatePepper)},
		{ID: "finishPepper", Method: post, Path: "/v1/keyring/finish-pepper", Action: "pepper.finish", Scope: admin, Access: operators, Query: force, Serve: rest.WithoutBody(t.keyring.FinishPepper)},
		{ID: "backup", Method: get, Path: "/v1/backup", Action: "backup.read", Scope: admin, Access: operators, Serve: t.backup.Read},

		{ID: "livez", Method: get, Path: "/livez", Access: probe, Serve: t.pages.Livez},
		{ID: "readyz", Method: get, Path: "/readyz", Access: probe, Serve: t.pages.Readyz},
		{ID: "securityTxt", Method: get, Path: "/.well-known/security.txt", Access: probe, Serve: t.pages.Security},
		{ID: "openAPI", Method: get, Path: "/openapi.yaml", Access: rest.Open | rest.Quiet, Serve: t.pages.Description},
		{ID: "metrics", Method: get, Path: "/metrics", Action: "metrics.read", Scope: admin, Access: metricsAccess, Serve: t.pages.ReadMetrics},
	})))
}

// tagged are the changes of one resource with an ETag. Any other refuses If-Match: its sender
// believes that the change is not made otherwise.
var tagged = []string{
	"updateKey", "rotateKey", "revokeKey", "setAllowlist", "confirmAllowlist", "revertAllowlist", "updateAccount", "updateManagedAccount", "deleteManagedAccount", "updateTier", "deleteTier",
	"closeIncident", "updateWebhook", "deleteWebhook", "rotateWebhookSecret", "testWebhook", "redeliver", "redeliverSince",
	"updateUser", "deleteUser", "disableUser", "resetUser", "cancelErasure",
}

func withTags(routes []*rest.Route) []*rest.Route {
	for _, rt := range routes {
		rt.Tagged = slices.Contains(tagged, rt.ID)
	}
	return routes
}

// webhookRoutes lists the calls about webhooks and incidents.
func (t *topics) webhookRoutes() []*rest.Route {
	return []*rest.Route{
		{ID: "openIncident", Method: post, Path: "/v1/incidents", Action: "incident.open", Scope: admin, Serve: rest.WithBody(t.incidents.Open)},
		{ID: "listIncidents", Method: get, Path: "/v1/incidents", Action: "incident.list", Scope: admin, Query: page, Serve: rest.WithoutBody(t.incidents.List)},
		{ID: "getIncident", Method: get, Path: "/v1/incidents/{id}", Action: "incident.read", Scope: admin, IDs: "inc_", Serve: rest.WithoutBody(t.incidents.Get)},
		{ID: "closeIncident", Method: post, Path: "/v1/incidents/{id}/close", Action: "incident.close", Scope: admin, IDs: "inc_", Serve: rest.WithOptionalBody(t.incidents.Close)},
		{ID: "incidentReport", Method: get, Path: "/v1/incidents/{id}/report", Action: "incident.report", Scope: admin, IDs: "inc_", Serve: t.incidents.Report},

		{ID: "createWebhook", Method: post, Path: "/v1/webhooks", Action: "webhook.create", Scope: admin, Access: onProxy, Serve: rest.WithBody(t.webhooks.Create)},
		{ID: "listWebhooks", Method: get, Path: "/v1/webhooks", Action: "webhook.list", Scope: admin, Access: onProxy, Query: page, Serve: rest.WithoutBody(t.webhooks.List)},
		{ID: "getWebhook", Method: get, Path: "/v1/webhooks/{id}", Action: "webhook.read", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithoutBody(t.webhooks.Get)},
		{ID: "updateWebhook", Method: patch, Path: "/v1/webhooks/{id}", Action: "webhook.update", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithBody(t.webhooks.Update)},
		{ID: "deleteWebhook", Method: del, Path: "/v1/webhooks/{id}", Action: "webhook.delete", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithoutBody(t.webhooks.Delete)},
		{ID: "rotateWebhookSecret", Method: post, Path: "/v1/webhooks/{id}/rotate-secret", Action: "webhook.rotate", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithOptionalBody(t.webhooks.Rotate)},
		{ID: "testWebhook", Method: post, Path: "/v1/webhooks/{id}/test", Action: "webhook.test", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithOptionalBody(t.webhooks.Test)},
		{ID: "listDeliveries", Method: get, Path: "/v1/webhooks/{id}/deliveries", Action: "webhook.deliveries", Scope: admin, Access: onProxy, IDs: "whk_", Query: []string{"state", "limit", "cursor"}, Serve: rest.WithoutBody(t.webhooks.Deliveries)},
		{ID: "redeliver", Method: post, Path: "/v1/webhooks/{id}/deliveries/{did}/redeliver", Action: "webhook.redeliver", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithOptionalBody(t.webhooks.Redeliver)},
		{ID: "redeliverSince", Method: post, Path: "/v1/webhooks/{id}/redeliver", Action: "webhook.redeliver", Scope: admin, Access: onProxy, IDs: "whk_", Serve: rest.WithBody(t.webhooks.RedeliverSince)},
	}
}

// insight are the calls about what requests did.
func (t *topics) insight() []*rest.Route {
	return []*rest.Route{
		{ID: "usage", Method: get, Path: "/v1/usage", Action: "usage.read", Scope: read, Access: onProxy, Query: usageQuery, Serve: rest.WithoutBody(t.usage.Read)},
		{ID: "keyUsage", Method: get, Path: "/v1/usage/keys/{id}", Action: "usage.read", Scope: read, Access: onProxy, IDs: "key_", Query: []string{"from", "to"}, Serve: rest.WithoutBody(t.usage.OfKey)},
		{ID: "securityEvents", Method: get, Path: "/v1/security/events", Action: "security.read", Scope: admin, Access: onProxy, Query: []string{"from", "to", "key"}, Serve: rest.WithoutBody(t.security.Events)},
		{ID: "hygiene", Method: get, Path: "/v1/security/hygiene", Action: "security.read", Scope: admin, Access: onProxy, Serve: rest.WithoutBody(t.security.Hygiene)},
	}
}

// allowlistRoutes are the calls about an account's allowlist.
func (t *topics) allowlistRoutes() []*rest.Route {
	return []*rest.Route{
		{ID: "getAllowlist", Method: get, Path: "/v1/allowlist", Action: "allowlist.read", Scope: admin, Access: onProxy, Serve: t.allowlist.Get},
		{ID: "setAllowlist", Method: put, Path: "/v1/allowlist", Action: "allowlist.update", Scope: admin, Access: onProxy, Query: []string{"force", "confirm_within"}, Serve: rest.WithRawBody(t.allowlist.Set)},
		{ID: "confirmAllowlist", Method: post, Path: "/v1/allowlist/confirm", Action: "allowlist.confirm", Scope: admin, Serve: rest.WithoutBody(t.allowlist.Confirm)},
		{ID: "revertAllowlist", Method: post, Path: "/v1/allowlist/revert", Action: "allowlist.revert", Scope: admin, Query: force, Serve: rest.WithoutBody(t.allowlist.Revert)},
	}
}
