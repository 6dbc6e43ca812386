package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// comparer orders rows by their bytes. What is its own is Split: filters hold
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

// options are the settings of the state's Pebble instance, the same wherever
// one of its files is written.
func options(cfg *Config) *pebble.Options {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o := &pebble.Options{
		FS:                          cfg.FS,
		Cache:                       cfg.Cache,
		Comparer:                    comparer(),
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      quiet{log},
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
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { cfg.Fatal(fmt.Errorf("state in %q: %w", cfg.Dir, err)) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			cfg.Fatal(fmt.Errorf("state in %q is damaged: %w", cfg.Dir, info.Details))
		},
	}
	return o
}

// quiet passes Pebble's own messages on at debug level: what matters of them
// reaches cfg.Fatal.
type quiet struct{ log *slog.Logger }

func (q quiet) Infof(format string, args ...any)  { q.log.Debug(fmt.Sprintf(format, args...)) }
func (q quiet) Errorf(format string, args ...any) { q.log.Error(fmt.Sprintf(format, args...)) }

// Fatalf is called where Pebble cannot go on; it must not return.
func (q quiet) Fatalf(format string, args ...any) { panic("pebble: " + fmt.Sprintf(format, args...)) }

// openFiles is how many tables are kept open: an eighth of what the process may
// open, since the proxied connections need the rest.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 128
	}
	return int(min(max(limit.Cur/8, 64), 1024))
}
