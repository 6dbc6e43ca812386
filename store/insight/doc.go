// Package insight learns the habits of keys from their requests, and finds those that are
// far outside of them.
//
// Every finding is explained by two facts: what was usual and what was seen. Each key is
// compared with its own past only, so no rule has to be written for it, and no data of
// others is needed. A key that is being learned gives no findings; a key whose habit is
// irregular gives fewer than a regular one.
//
// The package is pure: requests and their times come in, findings and packed habits go
// out. The same requests in the same order give the same findings, and the id of a finding
// depends on its cause alone, so that several nodes that see the same cause agree on it.
//
// # Bounds
//
// Habits of 8,192 keys in memory, 2.4 KB each; those of other keys are kept by [Memory].
// Within a habit: 16 countries, 16 networks, 64 addresses at once, 8 recent addresses.
// Failed authentications are counted for 8,192 addresses, hints and countries at once.
//
// # Goroutines and locks
//
// None: a caller with several goroutines locks.
package insight
