package cli

import (
	"strings"
	"testing"
	"time"
)

// A point in time is passed on as it was given; a duration is one back from now.
func TestPoints(t *testing.T) {
	for given, want := range map[string]string{
		"2027-01-31": "2027-01-31", "2027-01-31T15:04:05Z": "2027-01-31T15:04:05Z", "2027-01-31T15:04:05.5+02:00": "2027-01-31T15:04:05.5+02:00",
		"30d": "-720h", "-7d": "-168h", "14d12h": "-348h", "90m": "-90m", "0s": "0s",
	} {
		var p point
		if err := p.Set(given); err != nil {
			t.Errorf("%q: %v", given, err)
			continue
		}
		if !strings.HasSuffix(want, "h") && !strings.HasSuffix(want, "m") && !strings.HasSuffix(want, "s") {
			if p.String() != want {
				t.Errorf("%q is %s", given, p.String())
			}
			continue
		}
		back, _ := time.ParseDuration(want)
		at, err := time.Parse(time.RFC3339, p.String())
		if off := time.Since(at.Add(-back)); err != nil || off < 0 || off > time.Minute || at.Location() != time.UTC {
			t.Errorf("%q is %s, %v", given, p.String(), err)
		}
	}
	for _, given := range []string{"", "now", "yesterday", "2027-13-01", "2027-02-30", "2016-12-31T23:59:60Z", "2027-01-31 15:04", "1w", "--7d", "-0-1h", "∞", "99999999999d"} {
		var p point
		if err := p.Set(given); err == nil {
			t.Errorf("%q is read as %s", given, p.String())
		}
	}
}

// Every flag for a time reads days.
func TestTimesInDays(t *testing.T) {
	s := start(t, map[string]answer{
		"GET /v1/usage":           {body: `{"data":[],"missing":[]}`},
		"GET /v1/audit-logs":      {body: `{"data":[],"next_cursor":null}`},
		"POST /v1/keys/revoke":    {body: `{"matched":1,"revoked":1,"dry_run":false,"ids":["key_1"]}`},
		"GET /v1/security/events": {body: `{"failed_authentications":{"requests":1},"anomalies":[],"from":"2027-01-01T00:00:00Z"}`},
	})
	day := time.Now().Add(-30 * 24 * time.Hour).UTC().Format(time.DateOnly)
	for _, args := range []string{"usage --from 30d", "usage --to=-30d", "audit list --start-date 30d", "audit list --end-date 720h", "security events --from 30d", "keys revoke --created-before 30d"} {
		s.run(t, "", strings.Fields(args)...)
		if !strings.Contains(s.received(), day) && time.Now().UTC().Format(time.TimeOnly) > "00:01:00" {
			t.Errorf("%s: %s, want a time of %s", args, s.received(), day)
		}
	}
	testFailures(t, s, []failure{
		{args: "usage --from yesterday", code: 2, err: "or a duration back from now such as 30d"},
		{args: "audit list --start-date 2016-12-31T23:59:60Z", code: 2, err: "must be a date such as 2027-01-31"},
	})
}
