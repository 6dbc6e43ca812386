package store

import "time"

// Census counts the keys in the rows of a state, by their properties; see [Census.Add].
type Census struct {
	Accounts int `json:"accounts"`
	Keys     int `json:"keys"`
	Active   int `json:"active"` // rotating ones included
	Disabled int `json:"disabled"`
	Expired  int `json:"expired"`
	Revoked  int `json:"revoked"`

	accounts map[AccountID]bool
}

// Add takes the next row, in ascending order, as of now. It returns the key if
// the row is one of an account that exists.
func (c *Census) Add(row, value []byte, now time.Time) (*Key, error) {
	if len(row) == 0 {
		return nil, errPacked
	}
	switch row[0] {
	case rowAccount:
		if c.accounts == nil {
			c.accounts = make(map[AccountID]bool)
		}
		c.accounts[AccountID(row[1:])] = true
		c.Accounts++
	case rowKey:
		k, err := unpackKey(value)
		if err != nil || !c.accounts[k.Account] {
			return nil, err
		}
		c.Keys++
		switch k.State(now) {
		case Revoked:
			c.Revoked++
		case Expired:
			c.Expired++
		case Disabled:
			c.Disabled++
		default:
			c.Active++
		}
		return k, nil
	}
	return nil, nil
}
