package config

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/perfgate/perfgate/node/config/configtest"
)

var (
	bareKey = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	index   = regexp.MustCompile(`\[\d+\]`)
)

// Whatever a file holds, it loads, or each fault is a usage error in readable text that
// leads to the file, and to the line where the key stands.
func FuzzFile(f *testing.F) {
	for _, doc := range []string{
		"", faulty, "[log]\nlevel = \"warn\"\n", "node = 5", "a.b.c = 1\n[a.d]\n", "[[proxy.routes]]\n\n[proxy.routes.timeouts]\nread = \"1s\"\n",
		"proxy = {\n  listen = \":1\",\n  lisen = [\n\n    { x = 1 }] }", "\"\" = 1\n\"a.b\" = 2\n'c[0]' = 3", "[node]\nname = '''\n\nx'''\nreg = 2\n",
		"[[mail]]\n[[mail]]\nx = 2027-01-31\n", "cluster.join = [\"a:1\",\n\"b\"]\r\n", "[node]\nname = \"" + strings.Repeat("é", shownValue) + "\"", "\xff\xfen\x00", "x = \"\\ud800\"", "#\x00",
	} {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		path := configtest.File(t, doc)
		c, err := Load([]string{"--config", path}, configtest.Environ())
		if err == nil {
			if again := mustLoad(t, []string{"--config", path}); len(Changed(c, again)) > 0 {
				t.Errorf("the same file changes %v", Changed(c, again))
			}
			return
		}
		text := strings.Split(doc, "\n")
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			var fault *UsageError
			if !errors.As(e, &fault) || !utf8.ValidString(e.Error()) || fault.Line < 0 || fault.Line > len(text) {
				t.Fatalf("%q", e)
			}
			key := index.ReplaceAllString(fault.Key, "")
			if fault.Source != path || !bareKey.MatchString(key) || key != fault.Key || strings.ContainsRune(doc, '\\') {
				continue
			}
			_, name, _ := cutLast(key)
			if fault.Line == 0 || !strings.Contains(text[fault.Line-1], name) {
				t.Errorf("%q, which is not in line %d", e, fault.Line)
			}
		}
	})
}
