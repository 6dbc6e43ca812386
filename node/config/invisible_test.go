package config

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// No text of the configuration holds a character that nobody sees, wherever it comes
// from. The fault names the place, and shows the text unless it may be a credential.
func TestTextsThatLookAlike(t *testing.T) {
	file := configtest.File(t, "[node]\nname = \"gate\\u200b\"\nregion = \"e\\u202Eu\"\n[admin]\nlisten = \"127.0.0.1:8081\\uFEFF\"\n"+
		"[[proxy.routes]]\npath = \"/v1/\\u200Bx\"\nhost = \"a\\u2066b\"\nmethods = [\"GET\", \"PO\\u2060ST\"]\nrequire = [\"ad\\u200dmin\"]\n"+
		"upstreams = [\"http://h/\\u00AD\", \"http://me:secret@h\\u200b\"]\nheaders = { X-Token = \"secret\\u200b\" }\n"+
		"[[proxy.routes]]\npath = \"/پ\\u200cژ/👩\\u200d💻\"\nupstreams = [\"http://h\"]\n")
	_, err := Load([]string{"--config", file, "--data-dir", "a\u200bb"}, configtest.Environ("PERFGATE_SECURITY_TXT_CONTACT=mailto:a\u200b", "PERFGATE_BACKUP_DIR=\u202edir"))
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{
		`line 2: node.name = "gate\u200b": must not hold characters that cannot be seen, such as U+200B`,
		`line 3: node.region = "e\u202eu": must not hold`,
		`line 5: admin.listen = "127.0.0.1:8081\ufeff": must not hold characters that cannot be seen, such as U+FEFF`,
		`line 7: proxy.routes[0].path = "/v1/\u200bx": must not hold`,
		`line 8: proxy.routes[0].host = "a\u2066b": must not hold`,
		`line 9: proxy.routes[0].methods[1] = "PO\u2060ST": must not hold`,
		`line 10: proxy.routes[0].require[0] = "ad\u200dmin": must not hold`,
		`line 11: proxy.routes[0].upstreams[0] = "http://h/\u00ad": must not hold`,
		`line 11: proxy.routes[0].upstreams[1]: must not hold`,
		`line 12: proxy.routes[0].headers.X-Token: must not hold`,
		`--data-dir: node.data_dir = "a\u200bb": must not hold`,
		`PERFGATE_BACKUP_DIR: backup.dir = "\u202edir": must not hold`,
		`PERFGATE_SECURITY_TXT_CONTACT: security_txt.contact[0]`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %s", want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 13 || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "routes[1]") {
		t.Errorf("%d faults:\n%v", n, err)
	}
}
