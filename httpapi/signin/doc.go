// Package signin verifies the credentials of people: passwords, codes of a second
// factor, and answers of an OIDC provider. It knows neither users nor sessions; its
// callers do.
//
// # Passwords
//
// A password is hashed with argon2id. Each hash takes [hashMemory] of memory and tens of
// milliseconds of a processor, so [Hashes] lets few run at once and refuses what would wait
// long: guessing can never take the memory or the processors of requests. A sign-in for
// an address without a user hashes too, so that its time tells nothing.
//
// # Guessing
//
// [Guard] delays failed sign-ins, by the client's address and by the account. An address
// that the user signed in from before has a delay of its own, so that others who guess
// cannot lock the user out. The tables have a fixed size.
//
// # Goroutines and locks
//
// There are no goroutines. Each table has a lock of its own, and none is taken under
// another.
package signin
