package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

const (
	scanBuffer  = 256 << 10
	scanMaxSize = 1 << 30 // bytes of a file that is looked at
	scanSkipped = 20      // files that are named when they were skipped; the rest are counted
)

func (a *app) scanCommand() *cobra.Command {
	var most int64
	cmd := &cobra.Command{
		Use:   "scan PATH…",
		Short: "Find API keys in files, by their checksum",
		Long: `Looks through files, and directories with all that is below them, for keys that perfgate made; "-" is stdin. Text and
binary files alike, UTF-16 too; compressed files are not unpacked. Symbolic links, devices and pipes are not followed.
Prints path:line:hint, never a key. The exit code is 1 if there is one. Needs no server.`,
		Example: "  perfgate scan .    git diff --cached | perfgate scan -",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 1 {
				return usagef("--max-size %d: want a number of bytes", most)
			}
			s := &scan{app: a, max: most, buf: make([]byte, scanBuffer)}
			for _, path := range args {
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				s.path(path)
			}
			return s.result()
		},
	}
	cmd.Flags().Int64Var(&most, "max-size", scanMaxSize, "bytes; larger files are skipped, and told")
	return cmd
}

// scan is one search.
type scan struct {
	*app
	max     int64
	buf     []byte
	found   int
	files   int // that hold a key
	failed  int // paths that could not be read
	skipped int // files that are too large
}

// finding is one key in one place, as --json prints it.
type finding struct {
	Path string `json:"path"`
	Line int    `json:"line"`
	Hint string `json:"hint"`
}

func (s *scan) path(root string) {
	if root == "-" {
		s.search("stdin", s.Stdin)
		return
	}
	// WalkDir looks at the root itself without following it; who names a link
	// means what is behind it.
	if info, err := os.Stat(root); err == nil && info.Mode().IsRegular() {
		s.file(root, info)
		return
	}
	if target, err := filepath.EvalSymlinks(root); err == nil && target != root {
		if info, err := os.Lstat(root); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			root = target
		}
	}
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			s.fail(path, err)
			return nil // what can be read is looked at
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // gone since the directory was read
				s.fail(path, err)
			}
			return nil
		}
		s.file(path, info)
		return nil
	})
}

func (s *scan) fail(path string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	s.failed++
	fmt.Fprintf(s.Stderr, "perfgate: %s: %v\n", oneLine(path), err)
}

func (s *scan) file(path string, info fs.FileInfo) {
	if info.Size() > s.max {
		if s.skipped++; s.skipped <= scanSkipped {
			fmt.Fprintf(s.Stderr, "perfgate: %s: skipped, it has %d bytes; see --max-size\n", oneLine(path), info.Size())
		}
		return
	}
	f, err := os.Open(path)
	if err != nil {
		s.fail(path, err)
		return
	}
	defer f.Close()
	s.search(path, f)
}

// search looks through r in constant memory. NUL bytes are left out of what is
// compared, so that a key in UTF-16 looks like any other.
func (s *scan) search(path string, r io.Reader) {
	line, before, kept := 1, s.found, 0
	for {
		n, err := r.Read(s.buf[kept:])
		window := s.buf[:kept+dropNUL(s.buf[kept:kept+n])]
		last := err != nil
		// What may be the beginning of a key stays for the next round.
		done := s.window(path, window, &line, last)
		kept = copy(s.buf, window[done:])
		if last {
			if !errors.Is(err, io.EOF) {
				s.fail(path, err)
			}
			break
		}
	}
	if s.found > before {
		s.files++
	}
}

// dropNUL moves b's other bytes together and returns how many they are.
func dropNUL(b []byte) int {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return len(b)
	}
	for _, c := range b[i:] {
		if c != 0 {
			b[i] = c
			i++
		}
	}
	return i
}

// window reports the keys that begin in b and end in it, counts its lines, and
// returns how many bytes are done with.
func (s *scan) window(path string, b []byte, line *int, last bool) int {
	done := 0
	for {
		i := bytes.Index(b[done:], []byte("pk_"))
		if i < 0 {
			break
		}
		at := done + i
		if len(b)-at < apikey.Len {
			if last {
				break
			}
			*line += bytes.Count(b[done:at], []byte{'\n'})
			return at
		}
		*line += bytes.Count(b[done:at], []byte{'\n'})
		done = at + len("pk_")
		if !bytes.HasPrefix(b[at:], []byte(apikey.LivePrefix)) && !bytes.HasPrefix(b[at:], []byte(apikey.TestPrefix)) {
			continue
		}
		if key := string(b[at : at+apikey.Len]); apikey.Parse(key) == apikey.Native {
			s.report(finding{path, *line, apikey.Hint(key)})
			done = at + apikey.Len
		}
	}
	end := len(b)
	if !last {
		end = max(done, len(b)-len("pk_")+1)
	}
	*line += bytes.Count(b[done:end], []byte{'\n'})
	return end
}

func (s *scan) report(f finding) {
	s.found++
	if s.json {
		json.NewEncoder(s.Stdout).Encode(f)
		return
	}
	fmt.Fprintf(s.Stdout, "%s:%d:%s\n", oneLine(f.Path), f.Line, f.Hint)
}

func (s *scan) result() error {
	if s.skipped > scanSkipped {
		fmt.Fprintf(s.Stderr, "perfgate: %d files were skipped for their size\n", s.skipped)
	}
	switch {
	case s.found > 0:
		return fmt.Errorf("%d keys in %d files; rotate or revoke them", s.found, s.files)
	case s.failed > 0:
		return fmt.Errorf("%d paths could not be read", s.failed)
	}
	return nil
}
