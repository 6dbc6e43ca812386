// Package export reads exports of the audit log, in JSON, NDJSON and CSV, and hands
// their events and proof to package chain. It trusts nothing in them: a file that does
// not parse is a finding, never a panic.
//
// An export is read once, from its beginning, in memory of about 100 bytes an event and
// the size of its proof.
package export
