// Package apikey knows the form of API keys and nothing else: how they are
// made, checked, shown and hashed. A key is a prefix ("pk_test_" or "pk_live_"),
// 32 random base62 characters, and 6 checksum characters: the CRC-32 (IEEE) of
// everything before them in base62, padded with zeros. The checksum lets a typo
// or a made-up key be refused without a look-up, and lets scanners find leaked
// keys in files. Imported keys may have any form of 16–256 visible ASCII.
//
// Nothing here keeps a key: [Hasher] remembers hashes of the keys in use, by
// their SHA-256, and clears the memory that keys pass through. The package starts
// no goroutines; the only shared state is the hasher's, which is atomic.
package apikey
