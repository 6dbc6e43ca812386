package manage

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
)

// The states of an account.
const (
	accountActive    = "active"
	accountSuspended = "suspended"
)

func accountState(a *store.Account) string {
	if a.Suspended {
		return accountSuspended
	}
	return accountActive
}

// keyPolicyView is the key policy of an account as the API shows it.
type keyPolicyView struct {
	MaxTTL     *string `json:"max_ttl"`
	MustExpire bool    `json:"must_expire"`
	MaxKeys    *int    `json:"max_keys"`
}

func viewKeyPolicy(p *store.KeyPolicy) *keyPolicyView {
	if p == nil {
		return nil
	}
	v := &keyPolicyView{MustExpire: p.MustExpire, MaxKeys: some(p.MaxKeys)}
	if p.MaxTTL != 0 {
		v.MaxTTL = some(span.Go(p.Life()))
	}
	return v
}

// keyPolicyBody is a key policy in a body.
type keyPolicyBody struct {
	MaxTTL     *string `json:"max_ttl"`
	MustExpire *bool   `json:"must_expire"`
	MaxKeys    *int    `json:"max_keys"`
}

// policy is the valid policy of in; nil for no body.
func (in *keyPolicyBody) policy() (*store.KeyPolicy, error) {
	if in == nil {
		return nil, nil
	}
	var faults fault.List
	p := new(store.KeyPolicy)
	set(&p.MustExpire, in.MustExpire)
	if in.MaxTTL != nil {
		d, err := span.Parse(*in.MaxTTL)
		if err != nil || d < store.MinKeyTTL || d > store.MaxKeyTTL {
			faults.Add(rest.Invalid("key_policy.max_ttl", `must be a duration such as "2160h", from %s to %s, or null`, span.Go(store.MinKeyTTL), span.Go(store.MaxKeyTTL)))
		}
		p.MaxTTL = int64(d / time.Second)
	}
	if in.MaxKeys != nil {
		if *in.MaxKeys < 1 || *in.MaxKeys > store.MaxPolicyKeys {
			faults.Add(rest.Invalid("key_policy.max_keys", "must be a whole number from 1 to %d, or null", store.MaxPolicyKeys))
		}
		p.MaxKeys = *in.MaxKeys
	}
	return p, faults.Err()
}

// access adds the state and the key policy to u.
func (p *managedPatch) access(u *store.AccountUpdate) error {
	var faults fault.List
	switch {
	case p.State.Set && p.State.Value != accountActive && p.State.Value != accountSuspended:
		faults.Add(rest.Invalid("state", `must be "active" or "suspended"`))
	case p.State.Set:
		u.Suspended = new(p.State.Value == accountSuspended)
	}
	switch {
	case p.Policy.Null:
		u.Clear = append(u.Clear, "key_policy")
	case p.Policy.Set:
		policy, err := p.Policy.Value.policy()
		faults.Add(err)
		u.KeyPolicy = policy
	}
	return faults.Err()
}
