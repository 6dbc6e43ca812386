package rest

import (
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// Roles is a set of roles that may make a call. Operators may make every call.
type Roles uint8

// The roles, and the sets of them that calls use.
const (
	Owners Roles = 1 << iota
	Admins
	Developers
	Viewers

	Managers = Owners | Admins              // change the account
	Makers   = Managers | Developers        // create keys, and change those that they created
	Auditors = Managers | Viewers           // read everything
	Everyone = Managers | Makers | Auditors // read keys and usage
)

var roleBits = map[store.Role]Roles{
	store.RoleOwner: Owners, store.RoleAdmin: Admins, store.RoleDeveloper: Developers, store.RoleViewer: Viewers,
}

// Allow reports whether a user with role may make the call.
func (rt *Route) Allow(role store.Role) bool {
	return role == store.RoleOperator || rt.Access&Operators == 0 && rt.Roles&roleBits[role] != 0
}

// Operates reports whether the caller manages the installation: an operator token, or a
// user with the role of an operator.
func (c *Caller) Operates() bool { return c.Role == store.RoleOperator }

// Manages refuses a developer what concerns a key that somebody else created.
func (c *Caller) Manages(k *store.Key) error {
	if c.Role == store.RoleDeveloper && k.CreatedBy != c.Actor.ID {
		return fault.Newf(fault.Forbidden, "A developer manages the keys that they created; %s was created by another.", k.ID)
	}
	return nil
}

// Grants refuses a developer to give a key the scope admin, which is more than their role.
func (c *Caller) Grants(scopes []string) error {
	if c.Role != store.RoleDeveloper {
		return nil
	}
	for _, s := range scopes {
		if store.ScopeNamed(s)&store.ScopeAdmin != 0 {
			return &fault.Error{Code: fault.Forbidden, Param: "/scopes", Message: "scopes: a developer cannot give a key the scope admin; ask an admin or owner of the account."}
		}
	}
	return nil
}
