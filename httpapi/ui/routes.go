package ui

import "slices"

// routes lists the pages.
func (u *UI) routes() []route {
	return slices.Concat(entryRoutes, usageRoutes, keyRoutes, securityRoutes, accountRoutes, peopleRoutes, installRoutes)
}

// The pages by topic.
var (
	// entryRoutes are the pages that lead in and out.
	entryRoutes = []route{
		{"GET /signin", true, signInPage},
		{"POST /signin", true, signIn},
		{"POST /signout", true, signOut},
		{"POST /command", false, showCommand},
	}
	// usageRoutes are the pages about what happened.
	usageRoutes = []route{
		{"GET /{$}", false, overview},
		{"GET /usage", false, usagePage},
		{"GET /usage/export", false, exportUsage},
	}
	// keyRoutes are the pages about keys.
	keyRoutes = []route{
		{"GET /keys", false, listKeys},
		{"POST /keys/bulk", false, bulkKeys},
		{"GET /keys/new", false, newKeyPage},
		{"POST /keys/new", false, newKey},
		{"GET /keys/{id}", false, keyPage},
		{"GET /keys/{id}/first", false, firstUsePage},
		{"GET /keys/{id}/edit", false, editKeyPage},
		{"POST /keys/{id}/edit", false, editKey},
		{"POST /keys/{id}/state", false, setKeyState},
		{"GET /keys/{id}/rotate", false, rotateKeyPage},
		{"POST /keys/{id}/rotate", false, rotateKey},
		{"GET /keys/{id}/revoke", false, revokeKeyPage},
		{"POST /keys/{id}/revoke", false, revokeKey},
	}
	// securityRoutes are the pages about security and the audit log.
	securityRoutes = []route{
		{"GET /security", false, securityPage},
		{"GET /security/hygiene", false, hygienePage},
		{"GET /security/incidents", false, incidentsPage},
		{"GET /security/incidents/new", false, newIncidentPage},
		{"POST /security/incidents/new", false, newIncident},
		{"GET /security/incidents/{id}", false, incidentPage},
		{"POST /security/incidents/{id}/close", false, closeIncident},
		{"GET /security/incidents/{id}/report", false, incidentReport},
		{"GET /security/allowlist", false, allowlistPage},
		{"POST /security/allowlist", false, setAllowlist},
		{"POST /security/allowlist/trial", false, endAllowlistTrial},
		{"GET /audit", false, auditPage},
		{"GET /audit/export", false, exportAudit},
		{"GET /audit/verify", false, verifyPage},
	}
	// accountRoutes are the pages about the account.
	accountRoutes = []route{
		{"GET /webhooks", false, webhooksPage},
		{"GET /webhooks/new", false, newWebhookPage},
		{"POST /webhooks/new", false, newWebhook},
		{"GET /webhooks/{id}", false, webhookPage},
		{"POST /webhooks/{id}", false, changeWebhook},
		{"GET /account", false, accountPage},
		{"POST /account", false, changeAccount},
		{"GET /account/data", false, exportData},
		{"GET /account/erasures", false, erasuresPage},
		{"POST /account/erasures", false, newErasure},
		{"GET /account/erasures/{id}", false, erasurePage},
		{"GET /account/erasures/{id}/receipt", false, erasureReceipt},
		{"POST /account/erasures/{id}/cancel", false, cancelErasure},
	}
	// peopleRoutes are the pages about people.
	peopleRoutes = []route{
		{"GET /users", false, usersPage},
		{"GET /users/new", false, newUserPage},
		{"POST /users/new", false, newUser},
		{"GET /users/{id}", false, userPage},
		{"POST /users/{id}", false, changeUser},
		{"GET /sessions", false, sessionsPage},
		{"POST /sessions/{id}/end", false, endSession},
		{"GET /second-factor", false, factorPage},
		{"POST /second-factor", false, changeFactor},
		{"GET /password", false, passwordPage},
		{"POST /password", false, setPassword},
		{"GET /link", false, linkPage},
		{"POST /link", false, makeLink},
	}
	// installRoutes are the pages for operators.
	installRoutes = []route{
		{"GET /cluster", false, clusterPage},
		{"POST /cluster", false, changeCluster},
		{"GET /keyring", false, keyringPage},
		{"POST /keyring", false, changeKeyring},
		{"GET /backup", false, backupPage},
		{"GET /compliance", false, compliancePage},
		{"GET /compliance/report", false, complianceReport},
		{"GET /accounts", false, accountsPage},
		{"GET /accounts/new", false, newAccountPage},
		{"POST /accounts/new", false, newAccount},
		{"GET /accounts/{id}", false, manageAccountPage},
		{"POST /accounts/{id}", false, manageAccount},
		{"GET /tiers", false, tiersPage},
		{"GET /tiers/new", false, newTierPage},
		{"POST /tiers/new", false, newTier},
		{"GET /tiers/{name}", false, tierPage},
		{"POST /tiers/{name}", false, changeTier},
		{"GET /tokens", false, tokensPage},
		{"POST /tokens", false, changeTokens},
	}
)
