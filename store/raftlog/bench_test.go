package raftlog

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

func openDisk(b *testing.B) *Log {
	dir := b.TempDir()
	l, err := Open(Config{
		FS: vfs.Default, Dir: filepath.Join(dir, "raftlog"), Plain: vfs.Default, Witness: filepath.Join(dir, "raftlog.end"),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Fatal:  func(err error) { b.Error(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// BenchmarkStoreLogs writes 600-byte entries durably to a real disk.
func BenchmarkStoreLogs(b *testing.B) {
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := openDisk(b)
			batch := make([]*raft.Log, n)
			index := uint64(0)
			data := make([]byte, 600)
			for b.Loop() {
				for i := range batch {
					index++
					batch[i] = &raft.Log{Index: index, Term: 1, Data: data}
				}
				if err := l.StoreLogs(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkGetLog reads 100,000 entries in sequence, as Raft does at start.
func BenchmarkGetLog(b *testing.B) {
	l := openDisk(b)
	const total = 100_000
	data := make([]byte, 600)
	for i := uint64(0); i < total; i += 1000 {
		var batch []*raft.Log
		for j := range uint64(1000) {
			batch = append(batch, &raft.Log{Index: i + j + 1, Term: 1, Data: data})
		}
		if err := l.StoreLogs(batch); err != nil {
			b.Fatal(err)
		}
	}
	var out raft.Log
	index := uint64(0)
	for b.Loop() {
		if err := l.GetLog(index%total+1, &out); err != nil {
			b.Fatal(err)
		}
		index++
	}
}
