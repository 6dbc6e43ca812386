package manage

import (
	"strings"
	"time"
)

// SecurityTxt is the content of /.well-known/security.txt (RFC 9116). Without a
// contact, or once it has expired, there is no such page: an expired one sends
// people to a contact that may no longer be read.
type SecurityTxt struct {
	Contact            []string // URIs: mailto:…, https://…
	Expires            time.Time
	Encryption         []string
	Acknowledgments    []string
	PreferredLanguages []string
	Canonical          []string
	Policy             []string
	Hiring             []string
}

// text renders s with the line ends that RFC 9116 prefers; false if there is
// nothing to show at now.
func (s *SecurityTxt) text(now time.Time) (string, bool) {
	if len(s.Contact) == 0 || !s.Expires.After(now) {
		return "", false
	}
	var b strings.Builder
	field := func(name string, values ...string) {
		for _, v := range values {
			b.WriteString(name + ": " + v + "\r\n")
		}
	}
	field("Contact", s.Contact...)
	field("Expires", s.Expires.UTC().Format(time.RFC3339))
	field("Encryption", s.Encryption...)
	field("Acknowledgments", s.Acknowledgments...)
	if len(s.PreferredLanguages) > 0 {
		field("Preferred-Languages", strings.Join(s.PreferredLanguages, ", "))
	}
	field("Canonical", s.Canonical...)
	field("Policy", s.Policy...)
	field("Hiring", s.Hiring...)
	return b.String(), true
}
