// Package keyring keeps the data keys of one node in a file, wrapped by a key that lives
// elsewhere (the key-encryption key, KEK).
//
// It stands on one rule: the file is replaced as a whole, so that after a crash it is the
// old one or the new one. Data keys never leave memory otherwise. A new KEK wraps the same
// data keys again; a new data key is used for new files, and the old ones stay until no
// file needs them.
//
// The file is a line "perfgate keyring 1 <id of the KEK>", then a salt of 16 bytes and JSON
// sealed by AES-256-GCM, under a key that HKDF-SHA-256 derives from the KEK and the salt.
// The line is authenticated with the rest. The id tells a wrong key from a damaged file.
//
// Goroutines and locks: none of its own. Ring.change is held while the file is replaced;
// readers load an immutable value.
package keyring
