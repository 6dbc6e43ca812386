// Package iprange reads and writes ranges of IP addresses as people write them:
// "203.0.113.7", "10.0.0.0/8", "2001:db8::/32". Allowlists, trusted proxies and
// the command line all read them here, so that one text means one range.
//
// A range is a [netip.Prefix] in one form: no host bits, no zone, and IPv4 where
// an address is IPv4-mapped IPv6. An address is a range of full length.
//
// Host bits (203.0.113.7/24) are the one thing that readers differ in. An
// allowlist drops them, as routers and the lists that people bring along do, and
// its answer shows the range that is stored: [Parse]. Nothing is shown where
// the configuration names proxies to trust, and a range that is wider than it
// looks would trust strangers, so there they are refused: [ParseExact]. See
// docs/decisions/056-address-ranges.md.
//
// The package is a leaf, and pure: its functions use their arguments only.
package iprange
