package config

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// The fields of a page that is complete, and each fault of one (RFC 9116 section 2.5).
func TestSecurityTxtFaults(t *testing.T) {
	const complete = "contact = \"mailto:a@b.c\"\nexpires = \"2027-01-01T00:00:00Z\"\n"
	for text, want := range map[string]string{
		"":       "",
		complete: "",
		complete + "policy = [\"https://b.c/p\", \"ftp://b.c\"]\nhiring = \"https://b.c\"\ncanonical = []": "",
		complete + "encryption = \"dns:b.c?type=OPENPGPKEY\"\nacknowledgments = \"https://b.c\"":           "",
		complete + "preferred_languages = [\"en\", \"de-CH\"]":                                             "",
		"contact = \"tel:+1-201-555-0123\"\nexpires = \"2001-01-01T00:00:00Z\"":                            "", // passed, and no fault
		"contact = \"mailto:a@b.c\"":                                                    "security_txt.expires",
		"expires = \"2027-01-01T00:00:00Z\"":                                            "security_txt.contact",
		"hiring = \"https://b.c\"":                                                      "security_txt.contact",
		"preferred_languages = \"en\"":                                                  "security_txt.contact",
		complete + "policy = \"/p\"":                                                    `security_txt.policy = "/p": must be a URI such as "https://example.com/security"`,
		complete + "policy = \"http://b.c\"":                                            "security_txt.policy = \"http://b.c\": must begin with https://",
		complete + "hiring = [\"https://b.c/a b\"]":                                     "security_txt.hiring",
		complete + "canonical = \"https://b.c/\\u0007\"":                                "security_txt.canonical",
		complete + "acknowledgments = \"https://b.c/\\nContact: x\"":                    "security_txt.acknowledgments",
		complete + "preferred_languages = [\"en\", \"\"]":                               "security_txt.preferred_languages",
		"contact = [\"mailto:a@b.c\", \"a@b.c\"]\nexpires = \"2027-01-01T00:00:00Z\"\n": "security_txt.contact",
		"contact = \"http://b.c\"\nexpires = \"2027-01-01T00:00:00Z\"\n":                "must begin with https://",
	} {
		_, err := Load([]string{"--config", configtest.File(t, "[security_txt]\n"+text)}, configtest.Environ())
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
