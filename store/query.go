package store

import "time"

// KeyQuery selects keys of one account, in order of creation. Zero fields select all.
type KeyQuery struct {
	Account     AccountID
	Type        *KeyType
	State       KeyState // judged at Now
	Now         time.Time
	Environment *string
	Name        string
	CreatedBy   string
	After       KeyID // resume after this key
	Limit       int   // ≥ 1
}
