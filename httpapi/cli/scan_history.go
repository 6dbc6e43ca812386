package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

// history searches every line that a commit of the repository at path has ever added, on
// any branch, by the output of git.
func (s *scan) history(ctx context.Context, path string) {
	// The flags make the output independent of the user's configuration.
	cmd := exec.CommandContext(ctx, "git", "-C", path, "log", "--all", "-p", "-m", "--text", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv",
		"--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "--format=commit %H")
	var complaint bytes.Buffer
	cmd.Stderr = &limitedWriter{w: &complaint, left: 1000}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.fail(path, fmt.Errorf("run git: %w", err))
		return
	}
	s.patches(path, out)
	if err := cmd.Wait(); err != nil {
		s.fail(path, fmt.Errorf("git log: %w: %s", err, strings.TrimSpace(complaint.String())))
	}
}

// limitedWriter keeps the beginning of what is written.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// patch is the place in the output of git log.
type patch struct {
	commit string // the first 12 digits
	file   string
	line   int // of the next added line
	left   int // lines of the hunk to come, removed and added
}

// patches searches the added lines of the output of git log.
func (s *scan) patches(root string, r io.Reader) {
	in := bufio.NewReaderSize(r, scanBuffer)
	var p patch
	var rest []byte // the end of a part of a long line, in which a key may begin
	added, whole, last := false, true, ""
	for {
		part, err := in.ReadSlice('\n')
		if len(part) > 0 {
			if whole {
				added = p.take(part)
			}
			whole = part[len(part)-1] == '\n'
			if added {
				text := append(rest, part...)
				place := root + "@" + p.commit + ":" + p.file
				if before := s.found; s.line(place, p.line, text) && place != last {
					s.files += min(1, s.found-before)
					last = place
				}
				rest = nil
				if !whole {
					rest = bytes.Clone(text[max(0, len(text)-apikey.Len+1):])
				}
			}
			if whole && added {
				p.line++
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) {
				s.fail(root, err)
			}
			return
		}
	}
}

// take reads a line, or the first part of one, and reports whether a commit added it. The
// lines of a hunk are counted, so that none of them is taken for a header.
func (p *patch) take(line []byte) bool {
	if p.left > 0 {
		switch line[0] {
		case '+':
			p.left--
			return true
		case '-':
			p.left--
		}
		return false
	}
	text := strings.TrimRight(string(line[:min(len(line), 4096)]), "\r\n")
	if hash, ok := strings.CutPrefix(text, "commit "); ok {
		*p = patch{commit: clip(hash, 12)}
	}
	if file, ok := strings.CutPrefix(text, "+++ b/"); ok {
		p.file = file
	} else if file, ok := strings.CutPrefix(text, `+++ "b/`); ok {
		p.file = strings.TrimSuffix(file, `"`)
	}
	if ranges, ok := strings.CutPrefix(text, "@@ -"); ok {
		removed, after, _ := strings.Cut(ranges, " +")
		added, _, _ := strings.Cut(after, " ")
		_, gone := hunk(removed)
		begin, come := hunk(added)
		p.line, p.left = begin, gone+come
	}
	return false
}

// hunk reads the begin and the number of lines of one side of a hunk.
func hunk(text string) (begin, n int) {
	first, count, ok := strings.Cut(text, ",")
	begin, _ = strconv.Atoi(first)
	if n = 1; ok {
		n, _ = strconv.Atoi(count)
	}
	return begin, n
}

func clip(s string, n int) string { return s[:min(n, len(s))] }

// line searches one line and reports whether it contains a key.
func (s *scan) line(path string, line int, text []byte) bool {
	before := s.found
	s.window(path, text[:dropNUL(text)], &line, true)
	return s.found > before
}
