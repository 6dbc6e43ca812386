// Package client speaks to perfgate's management API: one method for each call,
// named like the operation in openapi.yaml, with types of its own. It retries
// nothing and keeps no state.
//
// Errors that the server answered are *[fault.Error]: callers branch on the
// code.
package client
