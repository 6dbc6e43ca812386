package manage

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// Vault has the keys of the encrypted files of the node that serves the call. The node
// implements it. Errors are *fault.Error.
type Vault interface {
	Keyring() (KeyringStatus, error)
	// RotateKEK wraps the data keys with another key.
	RotateKEK(ctx context.Context) error
	// RotateData makes a new data key and begins to encrypt all files with it.
	RotateData() error
}

// KeyringStatus is the answer of GET /v1/keyring. It tells no key.
type KeyringStatus struct {
	Node          string    `json:"node"`
	KEK           string    `json:"kek"`    // id of the key that wraps the data keys
	Source        string    `json:"source"` // of that key: file, environment, command
	KeyBesideData bool      `json:"key_beside_data"`
	DataKeys      []DataKey `json:"data_keys"` // the oldest first
	Rotation      Rotation  `json:"rotation"`
	// Pepper is the same on all nodes. The calls set it.
	Pepper *PepperStatus `json:"pepper"`
	// Revocation is of FinishPepper.
	Revocation *rest.Revocation `json:"revocation,omitzero"`
}

// DataKey is a data key with the files that are encrypted with it.
type DataKey struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Current   bool      `json:"current"`
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
}

// Rotation is the progress of encrypting the files with the current data key.
type Rotation struct {
	Running    bool       `json:"running"`
	DoneBytes  int64      `json:"done_bytes"`
	TotalBytes int64      `json:"total_bytes"`
	Error      *string    `json:"error"`    // of the last one
	EndedAt    *time.Time `json:"ended_at"` // of the last one since the start
}

// Keyring serves the calls about the keys of the encrypted files, and about the pepper.
type Keyring struct {
	Vault Vault
	Store pepperStore

	unmoved unmoved // has a lock of its own
}

// Read shows the keys of the node that serves the call, and the state of the pepper.
func (h *Keyring) Read(c *rest.Call) (*KeyringStatus, error) {
	s, err := h.Vault.Keyring()
	if err != nil {
		return nil, fault.From(err)
	}
	s.Pepper, err = h.pepper(c)
	return &s, err
}

// RotateKEK wraps the data keys of the node with another key.
func (h *Keyring) RotateKEK(c *rest.Call) (*KeyringStatus, error) {
	if err := h.Vault.RotateKEK(c.Request.Context()); err != nil {
		return nil, fault.From(err)
	}
	return h.Read(c)
}

// RotateData begins to encrypt the files of the node with a new key.
func (h *Keyring) RotateData(c *rest.Call) (*KeyringStatus, error) {
	if err := h.Vault.RotateData(); err != nil {
		return nil, fault.From(err)
	}
	return h.Read(c)
}
