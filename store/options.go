package store

import (
	"bytes"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/perfgate/perfgate/store/disk"
)

// comparer orders rows by their bytes. Only Split differs from the default: filters hold
// the whole row of keys and hashes, so that a look-up of an unknown one reads no
// data block, but only the account of the rows that are always scanned (table i
// and e), which halves the filters' size.
func comparer() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "perfgate.state.v1"
	c.Split = func(row []byte) int {
		if len(row) > 0 && (row[0] == rowKey || row[0] == rowEvent) {
			if i := bytes.IndexByte(row, 0); i >= 0 {
				return i + 1
			}
		}
		return len(row)
	}
	return &c
}

// options returns the settings of the state's Pebble instance, the same wherever
// one of its files is written, and the guard that watches it.
func options(cfg *Config) (*pebble.Options, *disk.Guard) {
	o := &pebble.Options{
		FS:                          cfg.FS,
		Cleaner:                     disk.Cleaner{},
		Cache:                       cfg.Cache,
		Comparer:                    comparer(),
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                8 << 20, // taken out of the shared cache
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                openFiles(),
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // bits a row: 1 % false positives
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].BlockSize = 4 << 10 // a cold key costs one block
		o.Levels[i].IndexBlockSize = 64 << 10
	}
	// Rows of one account that follow each other share a prefix, but are no
	// versions of each other: their values belong beside them, not in blocks apart.
	o.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	guard := disk.NewGuard(disk.GuardConfig{
		Name: fmt.Sprintf("state %q", cfg.Dir), Logger: cfg.Logger, Fatal: cfg.Fatal, DamageIsFatal: true,
	})
	guard.Watch(o)
	return o, guard
}

// openFiles is the number of tables kept open: an eighth of the files that the
// process may open, since the proxied connections need the rest.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 128
	}
	return int(min(max(limit.Cur/8, 64), 1024))
}
