package disk

import "github.com/cockroachdb/pebble/v2"

// Cleaner removes files that Pebble does not need any more. With [pebble.DeleteCleaner] alone, up
// to MemTableStopWritesThreshold + 1 old logs stay, to be written over some time: an erasure would
// be reported while one of them still has what was erased. Pebble keeps none for a cleaner that needs
// their content, which the one that archives says of itself. Encrypted files are never
// written over, so nothing is lost.
type Cleaner struct {
	pebble.DeleteCleaner // its methods hide those of archiving
	archiving
}

type archiving struct{ pebble.ArchiveCleaner }
