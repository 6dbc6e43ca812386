package manage

import (
	"crypto/ed25519"
	"crypto/rand"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// auditKeys are the public keys that sign the heads of the audit log, oldest first.
type auditKeys struct {
	Keys []chain.Key `json:"keys"`
}

// RotateKey gives the audit log another signing key. The key before it endorses it, so that
// whoever trusts that one, or a head that it signed, can follow.
func (h *Audit) RotateKey(c *rest.Call) (*auditKeys, error) {
	if len(h.Log.Keys()) == 0 {
		return nil, fault.Newf(fault.Conflict, "The audit log has no signing key yet: the cluster is being formed or upgraded. Try again later.")
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	if _, err := c.Propose(&store.Command{Change: &store.AuditKey{Seed: seed}}); err != nil {
		return nil, err
	}
	return &auditKeys{h.Log.Keys()}, nil
}
