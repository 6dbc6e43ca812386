package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/pack"
)

// meta is the content of the meta file: one line of JSON and one with its CRC-32C
// in hexadecimal.
type meta struct {
	Format             int      `json:"format"` // 2; 1 has no list of files
	ID                 string   `json:"id"`
	Index              uint64   `json:"index"`
	Term               uint64   `json:"term"`
	Version            int      `json:"version"` // of Raft's metadata
	Servers            []server `json:"servers"`
	ConfigurationIndex uint64   `json:"configuration_index"`
	// Applied is the state's own index: that of the newest command in the rows.
	Applied uint64 `json:"applied"`
	// Size is the number of bytes of a stream; 0 is a checkpoint.
	Size int64 `json:"size"`
	// Files are all others of the snapshot.
	Files []file `json:"files,omitzero"`
}

type server struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	Suffrage int    `json:"suffrage"`
}

const (
	metaFormat  = 2
	metaFile    = "meta"
	streamFile  = "stream"
	checkpoint  = "checkpoint"
	metaMaxSize = 1 << 20
)

func servers(c raft.Configuration) []server {
	out := make([]server, 0, len(c.Servers))
	for _, s := range c.Servers {
		out = append(out, server{string(s.ID), string(s.Address), int(s.Suffrage)})
	}
	return out
}

// raft returns m as Raft knows it.
func (m *meta) raft() *raft.SnapshotMeta {
	c := raft.Configuration{}
	for _, s := range m.Servers {
		c.Servers = append(c.Servers, raft.Server{
			ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address), Suffrage: raft.ServerSuffrage(s.Suffrage),
		})
	}
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersion(m.Version), ID: m.ID, Index: m.Index, Term: m.Term,
		Configuration: c, ConfigurationIndex: m.ConfigurationIndex, Size: m.Size,
	}
}

// writeMeta makes the snapshot in dir a finished one.
func writeMeta(fs vfs.FS, dir string, m *meta) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	raw := fmt.Appendf(line, "\n%08x\n", crc32.Checksum(line, castagnoli))
	return pack.WriteFile(fs, fs.PathJoin(dir, metaFile), raw)
}

func readMeta(fs vfs.FS, dir string) (*meta, error) {
	f, err := fs.Open(fs.PathJoin(dir, metaFile))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, metaMaxSize))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	m, err := decodeMeta(raw)
	if err != nil {
		return nil, err
	}
	if m.ID != fs.PathBase(dir) {
		return nil, fmt.Errorf("%w: its meta file is that of %q", ErrDamaged, m.ID)
	}
	return m, nil
}

func decodeMeta(raw []byte) (*meta, error) {
	line, sum, ok := bytes.Cut(raw, []byte("\n"))
	if !ok || string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) {
		return nil, fmt.Errorf("%w: checksum of its meta file", ErrDamaged)
	}
	var m meta
	if err := json.Unmarshal(line, &m, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: its meta file: %w", ErrDamaged, err)
	}
	if m.Format < 1 || m.Format > metaFormat {
		return nil, fmt.Errorf("its format is %d, this program knows %d: use a newer version", m.Format, metaFormat)
	}
	return &m, nil
}
