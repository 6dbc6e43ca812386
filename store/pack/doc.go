// Package pack holds two forms that bytes take on their way to a disk or to
// another node.
//
// Packed values are fields in a fixed order without names: integers as varints,
// texts and lists with their length before them. They are appended to a slice,
// and read back by a [Reader], which never trusts its input: after the first
// fault it reads only zeros, and [Reader.Err] reports it. The formats themselves,
// with their versions, belong to the packages that write them.
//
// Files are replaced whole by [WriteFile]: after a crash at any moment the file is
// the old one or the new one. All access goes through a Pebble file system, so that
// one that encrypts serves these files too.
//
// The package knows nothing of the state. Its values are not safe for concurrent
// use, its functions are.
package pack
