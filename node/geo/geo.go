package geo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/perfgate/perfgate/store/local"
)

// Bounds of a database.
const (
	maxBytes  = 512 << 20 // of the file, which is kept in memory; a country database has 10 MB
	maxKnown  = 4096      // records whose country is remembered; a country database has 300
	pollEvery = 10 * time.Second
)

// Database is a file that is followed.
type Database struct {
	path    string
	logger  *slog.Logger
	current atomic.Pointer[edition]
	refused state // of the file that could not be used; Run's
}

// edition is the content of a file at one time. It does not change.
type edition struct {
	reader *maxminddb.Reader
	state  state
	known  sync.Map // uintptr of a record → local.Country
	count  atomic.Int64
}

// state tells contents of a file apart: a database is replaced by a rename, or written
// over its whole length.
type state struct {
	modified time.Time
	size     int64
}

// Open reads the database.
func Open(path string, logger *slog.Logger) (*Database, error) {
	e, err := read(path)
	if err != nil {
		return nil, err
	}
	d := &Database{path: path, logger: logger}
	d.current.Store(e)
	return d, nil
}

// Check is nil if the file at path is a database.
func Check(path string) error {
	_, err := read(path)
	return err
}

func read(path string) (*edition, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", path, info.Size(), int64(maxBytes))
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is not a database in MaxMind's format: %w", path, err)
	}
	return &edition{reader: r, state: state{info.ModTime(), info.Size()}}, nil
}

// fields are the places where databases have the country's code: those of MaxMind, of
// db-ip and the ip-location-db project, and of IPinfo.
var fields = [][]any{{"country", "iso_code"}, {"country_code"}, {"registered_country", "iso_code"}, {"country"}}

// Country is the country of an address; zero if it is not known.
func (d *Database) Country(ip netip.Addr) local.Country {
	e := d.current.Load()
	if !ip.IsValid() || ip.Is6() && !ip.Is4In6() && e.reader.Metadata.IPVersion == 4 {
		return local.Country{}
	}
	found := e.reader.Lookup(ip.Unmap().WithZone(""))
	if !found.Found() || found.Err() != nil {
		return local.Country{}
	}
	if c, ok := e.known.Load(found.Offset()); ok {
		return c.(local.Country)
	}
	var c local.Country
	for _, path := range fields {
		var code string
		if err := found.DecodePath(&code, path...); err == nil {
			if c = local.CountryOf(code); c != (local.Country{}) {
				break
			}
		}
	}
	if e.count.Add(1) <= maxKnown {
		e.known.Store(found.Offset(), c)
	}
	return c
}

// Run follows the file until ctx ends.
func (d *Database) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.poll()
		}
	}
}

// poll uses the file if it has changed and is good. One that is being written is refused,
// and read again when it is whole.
func (d *Database) poll() {
	info, err := os.Stat(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return // it is being replaced, or was removed: the old one stays
	}
	if err != nil {
		d.logger.Error("follow geoip.database", "error", err)
		return
	}
	now := state{info.ModTime(), info.Size()}
	if now == d.current.Load().state || now == d.refused {
		return
	}
	e, err := read(d.path)
	if err != nil {
		d.refused = now
		d.logger.Error("geoip.database cannot be reloaded; the old one stays", "error", err)
		return
	}
	d.current.Store(e)
	d.logger.Info("geoip.database reloaded", "built", time.Unix(int64(e.reader.Metadata.BuildEpoch), 0).UTC().Format(time.DateOnly), "bytes", now.size)
}
