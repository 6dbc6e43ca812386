package config

import (
	"net/url"
	"strings"
)

// securityTxt checks each field as RFC 9116 section 2.5 requires. A time that has
// passed is no fault here: it would keep a node from starting again.
func (v validator) securityTxt() {
	s := &v.SecurityTxt
	const form = `must be a URI such as "https://example.com/security"`
	for _, f := range []struct {
		key    string
		values []string
		form   string
	}{
		{"contact", s.Contact, `must be a URI such as "mailto:security@example.com" or "https://example.com/security"`},
		{"policy", s.Policy, form},
		{"acknowledgments", s.Acknowledgments, form},
		{"encryption", s.Encryption, form},
		{"canonical", s.Canonical, form},
		{"hiring", s.Hiring, form},
	} {
		for _, value := range f.values {
			u, err := url.Parse(value)
			switch {
			case err != nil || !u.IsAbs() || !printable(value) || strings.ContainsRune(value, ' '):
				v.bad("security_txt."+f.key, f.form)
			case u.Scheme == "http":
				v.bad("security_txt."+f.key, "must begin with https:// (RFC 9116 section 2.5)")
			}
		}
	}
	for _, tag := range s.PreferredLanguages {
		v.check("security_txt.preferred_languages", tag != "" && printable(tag), `must be language tags such as "en"`)
	}
	others := len(s.Policy) + len(s.Acknowledgments) + len(s.Encryption) + len(s.Canonical) + len(s.Hiring) + len(s.PreferredLanguages)
	if len(s.Contact) > 0 {
		v.check("security_txt.expires", !s.Expires.IsZero(),
			`must be the time until which this page is true, such as "2027-12-31T00:00:00Z" (RFC 9116 section 2.5.5)`)
	} else {
		v.check("security_txt.contact", s.Expires.IsZero() && others == 0, "must be at least one contact (RFC 9116 section 2.5.3)")
	}
}
