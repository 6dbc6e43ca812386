package manage

import (
	"testing"
	"time"
)

func TestSecurityTxt(t *testing.T) {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	full := SecurityTxt{
		Contact: []string{"mailto:a@b.c", "https://b.c/report"}, Expires: expires, Encryption: []string{"https://b.c/key"}, Acknowledgments: []string{"https://b.c/hall"},
		PreferredLanguages: []string{"en", "de"}, Canonical: []string{"https://b.c/.well-known/security.txt"}, Policy: []string{"https://b.c/policy"}, Hiring: []string{"https://b.c/jobs"},
	}
	want := "Contact: mailto:a@b.c\r\nContact: https://b.c/report\r\nExpires: 2030-01-02T02:04:05Z\r\nEncryption: https://b.c/key\r\nAcknowledgments: https://b.c/hall\r\n" +
		"Preferred-Languages: en, de\r\nCanonical: https://b.c/.well-known/security.txt\r\nPolicy: https://b.c/policy\r\nHiring: https://b.c/jobs\r\n"
	noContact, noExpiry := full, full
	noContact.Contact, noExpiry.Expires = nil, time.Time{}
	for _, c := range []struct {
		name string
		txt  SecurityTxt
		now  time.Time
		want string
	}{
		{"whole", full, expires.Add(-time.Second), want},
		{"the moment it expires", full, expires, ""},
		{"expired", full, expires.Add(time.Hour), ""},
		{"no contact", noContact, expires.Add(-time.Hour), ""},
		{"no expiry", noExpiry, expires.Add(-time.Hour), ""},
	} {
		if got, ok := c.txt.text(c.now); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %v %q", c.name, ok, got)
		}
	}
}
