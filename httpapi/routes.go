package httpapi

import (
	"net/http"

	"github.com/perfgate/perfgate/store"
)

// table lists every call. openapi.yaml describes the same ones and the client
// has a method for each; a test holds the three together.
func (a *API) table() []*route {
	const (
		get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

		admin, usage, verify, limit = store.ScopeAdmin, store.ScopeRead, store.ScopeVerify, store.ScopeLimit
	)
	return []*route{
		{id: "createKey", method: post, path: "/v1/keys", action: "key.create", scope: admin, access: onProxy, serve: with(createKey)},
		{id: "listKeys", method: get, path: "/v1/keys", action: "key.list", scope: admin, access: onProxy, serve: plain(listKeys)},
		{id: "getKey", method: get, path: "/v1/keys/{id}", action: "key.read", scope: admin, access: onProxy, serve: plain(getKey)},
		{id: "updateKey", method: patch, path: "/v1/keys/{id}", action: "key.update", scope: admin, access: onProxy, serve: with(updateKey)},
		{id: "rotateKey", method: post, path: "/v1/keys/{id}/rotate", action: "key.rotate", scope: admin, access: onProxy, serve: maybe(rotateKey)},
		{id: "revokeKey", method: post, path: "/v1/keys/{id}/revoke", action: "key.revoke", scope: admin, access: onProxy, serve: maybe(revokeKey)},
		{id: "revokeKeys", method: post, path: "/v1/keys/revoke", action: "key.revoke_bulk", scope: admin, access: onProxy, serve: with(revokeKeys)},
		{id: "importKeys", method: post, path: "/v1/keys/import", action: "key.import", scope: admin, serve: plain(importKeys)},
		{id: "verifyKey", method: post, path: "/v1/keys/verify", action: "key.verify", scope: verify, access: onProxy | unmetered | quiet, serve: with(verifyKey)},
		{id: "rateLimit", method: post, path: "/v1/ratelimit", action: "ratelimit", scope: limit, access: onProxy | unmetered | quiet, serve: with(rateLimit)},

		{id: "getAllowlist", method: get, path: "/v1/allowlist", action: "allowlist.read", scope: admin, access: onProxy, serve: getAllowlist},
		{id: "setAllowlist", method: put, path: "/v1/allowlist", action: "allowlist.update", scope: admin, access: onProxy, serve: plain(setAllowlist)},

		{id: "usage", method: get, path: "/v1/usage", action: "usage.read", scope: usage, access: onProxy, serve: plain(readUsage)},
		{id: "auditLogs", method: get, path: "/v1/audit-logs", action: "audit.read", scope: admin, access: onProxy, serve: auditLogs},

		{id: "getAccount", method: get, path: "/v1/account", action: "account.read", scope: admin, access: onProxy, serve: plain(getOwnAccount)},
		{id: "updateAccount", method: patch, path: "/v1/account", action: "account.update", scope: admin, access: onProxy, serve: with(updateOwnAccount)},

		{id: "createManagedAccount", method: post, path: "/v1/accounts", action: "account.create", scope: admin, access: operators | global, serve: with(createAccount)},
		{id: "listManagedAccounts", method: get, path: "/v1/accounts", action: "account.list", scope: admin, access: operators | global, serve: plain(listAccounts)},
		{id: "getManagedAccount", method: get, path: "/v1/accounts/{id}", action: "account.read", scope: admin, access: operators | global, serve: plain(getAccount)},
		{id: "updateManagedAccount", method: patch, path: "/v1/accounts/{id}", action: "account.update", scope: admin, access: operators | global, serve: with(updateAccount)},
		{id: "deleteManagedAccount", method: del, path: "/v1/accounts/{id}", action: "account.delete", scope: admin, access: operators | global, serve: plain(deleteAccount)},

		{id: "createTier", method: post, path: "/v1/tiers", action: "tier.create", scope: admin, access: operators | global, serve: with(createTier)},
		{id: "listTiers", method: get, path: "/v1/tiers", action: "tier.list", scope: admin, access: operators | global, serve: plain(listTiers)},
		{id: "getTier", method: get, path: "/v1/tiers/{name}", action: "tier.read", scope: admin, access: operators | global, serve: plain(getTier)},
		{id: "updateTier", method: patch, path: "/v1/tiers/{name}", action: "tier.update", scope: admin, access: operators | global, serve: with(updateTier)},
		{id: "deleteTier", method: del, path: "/v1/tiers/{name}", action: "tier.delete", scope: admin, access: operators | global, serve: plain(deleteTier)},

		{id: "cluster", method: get, path: "/v1/cluster", action: "cluster.read", scope: admin, access: operators | global | quiet | anytime, serve: plain(readCluster)},
		{id: "transferLeadership", method: post, path: "/v1/cluster/transfer-leadership", action: "cluster.transfer", scope: admin, access: operators | global, serve: maybe(transferLeadership)},
		{id: "removeNode", method: del, path: "/v1/cluster/nodes/{name}", action: "cluster.remove", scope: admin, access: operators | global, serve: plain(removeNode)},
		{id: "cluster", method: get, path: "/v1/cluster", action: "cluster.read", scope: admin, access: operators | global | quiet, serve: plain(readCluster)},
		{id: "backup", method: get, path: "/v1/backup", action: "backup.read", scope: admin, access: operators | global, serve: readBackup},

		{id: "livez", method: get, path: "/livez", access: open | onProxy | quiet, serve: livez},
		{id: "readyz", method: get, path: "/readyz", access: open | onProxy | quiet, serve: readyz},
		{id: "securityTxt", method: get, path: "/.well-known/security.txt", access: open | onProxy | quiet, serve: securityTxt},
		{id: "openAPI", method: get, path: "/openapi.yaml", access: open | quiet, serve: describe},
		{id: "metrics", method: get, path: "/metrics", action: "metrics.read", access: a.metricsAccess(), scope: admin, serve: readMetrics},
	}
}

// metricsAccess asks for an operator token off loopback.
func (a *API) metricsAccess() access {
	if a.MetricsOpen {
		return open | quiet
	}
	return operators | global | quiet
}
