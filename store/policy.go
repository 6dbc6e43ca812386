package store

import "time"

// KeyPolicy binds the keys of an account from the time at which it is set: keys that are
// older keep what they have until they are changed in that respect.
type KeyPolicy struct {
	// MaxTTL is the longest life of a key from its creation in seconds, so that each must
	// expire; 0: none.
	MaxTTL int64 `json:"max_ttl_seconds,omitzero"`
	// MustExpire says that each key has an expiry.
	MustExpire bool `json:"must_expire,omitzero"`
	// MaxKeys is the most keys that are neither revoked, expired nor being replaced; 0: none.
	MaxKeys int `json:"max_keys,omitzero"`
}

// Life is MaxTTL as a duration.
func (p *KeyPolicy) Life() time.Duration { return time.Duration(p.MaxTTL) * time.Second }

// The bounds of a [KeyPolicy].
const (
	MinKeyTTL     = time.Minute
	MaxKeyTTL     = 100 * 365 * 24 * time.Hour
	MaxPolicyKeys = 100_000
)

func checkPolicy(p *KeyPolicy) *Refusal {
	switch {
	case p == nil:
	case p.MaxTTL != 0 && (p.MaxTTL < int64(MinKeyTTL/time.Second) || p.MaxTTL > int64(MaxKeyTTL/time.Second)):
		return invalid("key_policy.max_ttl", "it must be %v to %v", MinKeyTTL, MaxKeyTTL).Refusal
	case p.MaxKeys < 0 || p.MaxKeys > MaxPolicyKeys:
		return invalid("key_policy.max_keys", "it must be 0 to %d", MaxPolicyKeys).Refusal
	}
	return nil
}

// expiry checks the end of a key's life.
func (p *KeyPolicy) expiry(created, expires time.Time) *Refusal {
	switch {
	case p == nil || p.MaxTTL == 0 && !p.MustExpire:
	case expires.IsZero() && p.MaxTTL != 0:
		return invalid("expires_at", "the account's key policy requires that a key expires at most %v after its creation", p.Life()).Refusal
	case expires.IsZero():
		return invalid("expires_at", "the account's key policy requires that a key expires").Refusal
	case p.MaxTTL != 0 && expires.Sub(created) > p.Life():
		return invalid("expires_at", "it is more than %v after the creation of the key, the most that the account's key policy allows", p.Life()).Refusal
	}
	return nil
}

// keyRoom is how many keys the account may add; it is asked before the command's first
// write, since it reads the committed rows. Without a bound it is negative.
func (t *txn) keyRoom(a *AccountState) int {
	if a.KeyPolicy == nil || a.KeyPolicy.MaxKeys == 0 {
		return -1
	}
	t.settle()
	from := accountRows(rowKey, a.ID)
	left := a.KeyPolicy.MaxKeys
	t.rows.scan(from, prefixEnd(from), func(_, value []byte) error {
		k, err := unpackKey(value)
		if err != nil {
			return err
		}
		if s := k.State(t.when.at); s == Active || s == Disabled {
			if left--; left == 0 {
				return errEnough
			}
		}
		return nil
	})
	return max(left, 0)
}

// noKeyRoom refuses a key beyond [KeyPolicy.MaxKeys].
func noKeyRoom(a *AccountState) *Refusal {
	return refuse(LimitReached, "the account has %d keys, which is the most that its key policy allows; revoke one that is not used", a.KeyPolicy.MaxKeys).Refusal
}
