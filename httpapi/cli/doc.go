// Package cli is the command line of perfgate: one file per topic, each command
// an ordinary client of the management API. Commands that are the server itself
// (serve, check-config) are handed in by main.
//
// Answers go to stdout, as tables or (--json) in the API's own words; everything
// else goes to stderr. Exit codes: 0 fine, 1 failed, 2 bad usage. Secrets come
// from stdin, the environment or files, and no command needs one as an argument,
// where every process on the machine could read it.
package cli
