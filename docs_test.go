package main_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageInCode   = regexp.MustCompile(`\bdocs/[\w/.-]+\.md(#[\w-]+)?`)
	codeFence    = regexp.MustCompile("(?ms)^```.*?^```")
	codeSpan     = regexp.MustCompile("`[^`\n]*`")
	fileInSpan   = regexp.MustCompile("`((?:node|store|limiter|httpapi|e2e)/[\\w/.-]+\\.\\w+)`")
)

// TestDocLinks follows every link of a page to a file of this repository, and
// every page that a comment names, down to the heading.
func TestDocLinks(t *testing.T) {
	pages, links := 0, 0
	err := eachFile(".md", func(file string, src []byte) error {
		pages++
		for _, m := range markdownLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(codeFence.ReplaceAllString(string(src), ""), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			to, anchor, _ := strings.Cut(m[1], "#")
			if to == "" {
				to = path.Base(file)
			}
			follow(t, file, path.Join(path.Dir(file), to), anchor)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = eachGoFile(func(file string, src []byte) error {
		if file == "docs_test.go" {
			return nil
		}
		for _, m := range pageInCode.FindAllString(string(src), -1) {
			links++
			to, anchor, _ := strings.Cut(m, "#")
			follow(t, file, to, anchor)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 20 || links < 20 {
		t.Fatalf("%d pages with %d links; the tree was not found", pages, links)
	}
}

// TestFilesInDocs looks for every file of a package that a page names in code.
// Decisions are left out: they tell of the files of their time.
func TestFilesInDocs(t *testing.T) {
	named := 0
	err := eachFile(".md", func(file string, src []byte) error {
		if path.Dir(file) == "docs/decisions" {
			return nil
		}
		for _, m := range fileInSpan.FindAllStringSubmatch(string(src), -1) {
			named++
			follow(t, file, m[1], "")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if named < 10 {
		t.Fatalf("%d files are named; the pages were not found", named)
	}
}

// follow reports a link from a file that leads nowhere.
func follow(t *testing.T, from, to, anchor string) {
	t.Helper()
	if _, err := os.Stat(filepath.FromSlash(to)); err != nil {
		t.Errorf("%s: link to %s: no such file", from, to)
		return
	}
	if anchor != "" && !hasHeading(read(t, to), anchor) {
		t.Errorf("%s: link to %s#%s: no such heading", from, to, anchor)
	}
}

// hasHeading reports whether a page has a heading with an anchor, as GitHub
// makes it: lower case, punctuation dropped, a hyphen for each space.
func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(codeFence.ReplaceAllString(page, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line {
			continue
		}
		made := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		if made == anchor {
			return true
		}
	}
	return false
}

func TestHasHeading(t *testing.T) {
	page := "# One\n\n```\n# not-one\n```\n\n## Start, reload and *stop*\n"
	for anchor, want := range map[string]bool{"one": true, "start-reload-and-stop": true, "not-one": false, "two": false} {
		if got := hasHeading(page, anchor); got != want {
			t.Errorf("%s: got %v", anchor, got)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
