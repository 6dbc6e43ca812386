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
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

const (
	scanBuffer  = 256 << 10 // bytes
	scanMaxSize = 1 << 30   // bytes of a file, by default
	scanSkipped = 20        // skipped files that are named; the others are counted
)

func scanCommand(a *app) *cobra.Command {
	var most int64
	var check, revoke, history bool
	cmd := &cobra.Command{
		Use: "scan PATH…", Short: "Find API keys in files by their checksum", Args: cobra.MinimumNArgs(1),
		Long: `Search files, and directories recursively, for keys that perfgate created; "-" is
stdin. Text and binary files are searched, UTF-16 too; compressed files are not
unpacked. Symbolic links inside a directory, devices and pipes are skipped.

A match is printed as path:line:hint, without the key. The exit code is 1 if there
is a match or a path cannot be read. Needs no server but for --check and --revoke.

With --history, each PATH is a git repository, and every line that a commit on any
branch has ever added is searched; the path of a match has the commit in it.
With --check, each key is shown with its id and state: alive, disabled, expired,
revoked, or unknown to this server. With --revoke, those that are not yet revoked
are revoked; operators may revoke the keys of all accounts.`,
		Example: "  perfgate scan .\n  git diff --cached | perfgate scan -\n  perfgate scan --history --revoke ~/src/app",
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 1 {
				return usagef("--max-size %d: must be 1 or more", most)
			}
			s := &scan{app: a, max: most, buf: make([]byte, scanBuffer)}
			if check || revoke {
				session, err := a.dial()
				if err != nil {
					return err
				}
				s.checker = &checker{ctx: cmd.Context(), api: session.api, revoke: revoke, known: map[string]checked{}}
			}
			for _, path := range args {
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				if history {
					s.history(cmd.Context(), path)
				} else {
					s.path(path)
				}
			}
			return s.result()
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "ask the server for the id and state of each key")
	cmd.Flags().BoolVar(&revoke, "revoke", false, "revoke each key that is not yet revoked; implies --check")
	cmd.Flags().BoolVar(&history, "history", false, "search the history of git repositories; needs git")
	cmd.Flags().Int64Var(&most, "max-size", scanMaxSize, "skip and report files of more `bytes`")
	return cmd
}

// scan is one search. It belongs to one goroutine.
type scan struct {
	*app
	max     int64  // bytes of a file
	buf     []byte // a window of the file being searched
	found   int    // keys
	files   int    // that contain a key
	failed  int    // paths that could not be read
	skipped int    // files that are too large

	checker *checker // nil asks no server
}

// finding is one occurrence of a key, as printed with --json.
type finding struct {
	Path string `json:"path"`
	Line int    `json:"line"`
	Hint string `json:"hint"`
	// With --check.
	KeyID string `json:"key_id,omitempty"`
	State string `json:"state,omitempty"`

	checked checked
}

// path searches a file, a directory or stdin.
func (s *scan) path(root string) {
	if root == "-" {
		s.search("stdin", s.Stdin)
		return
	}
	// WalkDir does not follow a link at its root, but a link in the arguments
	// stands for its target.
	if info, err := os.Stat(root); err == nil && info.Mode().IsRegular() {
		s.file(root, info)
		return
	}
	if target, err := filepath.EvalSymlinks(root); err == nil && target != root {
		if info, err := os.Lstat(root); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			root = target
		}
	}
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			s.fail(path, err)
			return nil // search the rest
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // deleted since the directory was read
				s.fail(path, err)
			}
			return nil
		}
		s.file(path, info)
		return nil
	})
}

// fail reports a path that cannot be read.
func (s *scan) fail(path string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	s.failed++
	fmt.Fprintf(s.Stderr, "perfgate: %s: %v\n", masked(path), err)
}

// file searches a regular file.
func (s *scan) file(path string, info fs.FileInfo) {
	if info.Size() > s.max {
		if s.skipped++; s.skipped <= scanSkipped {
			fmt.Fprintf(s.Stderr, "perfgate: %s: skipped because it has %d bytes; see --max-size\n", masked(path), info.Size())
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

// search searches r in constant memory. NUL bytes are dropped first, so that a key
// in UTF-16 looks like any other.
func (s *scan) search(path string, r io.Reader) {
	line, before, kept := 1, s.found, 0
	for {
		n, err := r.Read(s.buf[kept:])
		window := s.buf[:kept+dropNUL(s.buf[kept:kept+n])]
		last := err != nil
		// A possible start of a key stays for the next round.
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

// dropNUL moves the bytes of b other than NUL to its front and returns their number.
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

// window reports the keys that lie within b, counts its lines, and returns the
// number of bytes that need not be searched again.
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
			is := s.checker.check(key, apikey.Mask(path)+":"+strconv.Itoa(*line))
			s.report(finding{Path: path, Line: *line, Hint: apikey.Hint(key), KeyID: is.ID, State: is.State, checked: is})
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
	f.Path = apikey.Mask(f.Path)
	if s.json {
		_ = json.NewEncoder(s.Stdout).Encode(f)
		return
	}
	fmt.Fprintf(s.Stdout, "%s:%d:%s%s\n", printable(f.Path), f.Line, f.Hint, printable(f.checked.String()))
}

// counted is a number of things: "1 key", "2 keys".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// result returns the error that decides the exit code.
func (s *scan) result() error {
	if s.skipped > scanSkipped {
		fmt.Fprintf(s.Stderr, "perfgate: %s were skipped because of their size\n", counted(s.skipped, "file"))
	}
	switch {
	case s.checker != nil && s.checker.err != nil:
		return s.checker.err
	case s.checker != nil && s.checker.revoke && s.found > 0:
		return fmt.Errorf("found %s in %s; revoked %d of them now", counted(s.found, "key"), counted(s.files, "file"), s.checker.ended)
	case s.found > 0:
		return fmt.Errorf("found %s in %s; rotate or revoke them", counted(s.found, "key"), counted(s.files, "file"))
	case s.failed > 0:
		return fmt.Errorf("%s could not be read", counted(s.failed, "path"))
	}
	return nil
}
