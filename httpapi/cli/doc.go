// Package cli is perfgate's command line. Each command is an ordinary client of
// the management API and lives in the file of its topic. Commands that run the
// server itself (serve, check-config, restore, recover) are passed in by main,
// so that this package depends on neither node nor store.
//
// A command turns its flags into one [call], sends it, and prints the answer:
// as a table, or with --json exactly as the API sent it. Decoding the answer
// only for tables lets an old command line pass on members that it does not
// know.
//
// Answers go to stdout, everything else to stderr. Exit codes: 0 success, 1
// failure, 2 wrong usage. Secrets come from stdin, the environment or files; no
// command needs one as an argument, where every process on the machine could
// read it. Text from the server or from files is stripped of control characters
// before it reaches a terminal.
//
// A command runs in the caller's goroutine. Only a streamed answer
// ([session.lines]) uses a second one, which ends with the call. There are no
// locks.
package cli
