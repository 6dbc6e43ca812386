// Package mail sends e-mail over SMTP. It holds the connection to its rules: off loopback,
// nothing is sent, and no password shown, without TLS and a certificate that is valid for
// the server's name.
//
// The package starts no goroutines and takes no locks.
package mail
