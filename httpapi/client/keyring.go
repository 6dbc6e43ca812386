package client

import (
	"context"
	"time"
)

// Vault is an operator's calls about the keys of the encrypted files of the node that is
// asked. See [Client.Vault].
type Vault struct{ client *Client }

// Vault returns the calls about the keys of encrypted files.
func (c *Client) Vault() Vault { return Vault{c} }

// Read shows the keys.
func (v Vault) Read(ctx context.Context) (*Keyring, error) {
	return call[Keyring](ctx, v.client, "GET", "/v1/keyring", nil, nil, nil)
}

// RotateKEK wraps the data keys with another key.
func (v Vault) RotateKEK(ctx context.Context) (*Keyring, error) {
	return call[Keyring](ctx, v.client, "POST", "/v1/keyring/rotate-kek", nil, nil, nil)
}

// RotateData begins to encrypt the files with a new key.
func (v Vault) RotateData(ctx context.Context) (*Keyring, error) {
	return call[Keyring](ctx, v.client, "POST", "/v1/keyring/rotate-data", nil, nil, nil)
}

// RotatePepper gives the hashes of API keys another pepper. Keys stay valid, and move to it
// when they are used.
func (v Vault) RotatePepper(ctx context.Context) (*Keyring, error) {
	return call[Keyring](ctx, v.client, "POST", "/v1/keyring/rotate-pepper", nil, nil, nil)
}

// FinishPepper drops the retired pepper. With [Force] it revokes the keys that need it.
func (v Vault) FinishPepper(ctx context.Context, opts ...Option) (*Keyring, error) {
	return call[Keyring](ctx, v.client, "POST", "/v1/keyring/finish-pepper", nil, nil, opts)
}

// Keyring describes the keys of the encrypted files of one node, and the pepper of the
// cluster. It has no key.
type Keyring struct {
	Node          string    `json:"node"`
	KEK           string    `json:"kek"`    // id of the key that wraps the data keys
	Source        string    `json:"source"` // of that key: file, environment, command
	KeyBesideData bool      `json:"key_beside_data"`
	DataKeys      []DataKey `json:"data_keys"` // the oldest first
	Rotation      struct {
		Running    bool       `json:"running"`
		DoneBytes  int64      `json:"done_bytes"`
		TotalBytes int64      `json:"total_bytes"`
		Error      *string    `json:"error"`
		EndedAt    *time.Time `json:"ended_at"`
	} `json:"rotation"`
	Pepper Pepper `json:"pepper"`
	// Revocation is nil but after FinishPepper.
	Revocation *Revocation `json:"revocation"`
}

// Pepper is the state of the pepper of the keys' hashes. The members but the first are nil
// while no rotation is under way.
type Pepper struct {
	Generation        uint64     `json:"generation"` // the rotations so far
	RetiredGeneration *uint64    `json:"retired_generation"`
	KeysRemaining     *int       `json:"keys_remaining"` // that were not used since the rotation began
	StartedAt         *time.Time `json:"started_at"`
}

// DataKey is a data key with the files that are encrypted with it.
type DataKey struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Current   bool      `json:"current"`
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
}
