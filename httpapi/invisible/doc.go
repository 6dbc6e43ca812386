// Package invisible finds characters that a reader cannot see: two names that differ by one
// of them look alike, and some change the order of the text around them. Every text that
// people choose and others read is held to it: in bodies of the management API, in routes
// of keys, and in the configuration.
//
// The package is a leaf, and pure: its functions use their arguments only.
package invisible
