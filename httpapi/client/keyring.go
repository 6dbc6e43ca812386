package client

import "time"

// Keyring describes the keys of the encrypted files of one node. It has no key.
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
}

// DataKey is a data key with the files that are encrypted with it.
type DataKey struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Current   bool      `json:"current"`
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
}
