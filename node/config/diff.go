package config

import (
	"maps"
	"reflect"
	"slices"
)

// Changed lists the keys in which two configurations differ, without their values,
// which may be secret.
func Changed(a, b *Config) []string {
	var out []string
	for _, s := range settings {
		same := reflect.DeepEqual(a.source.raw[s.key], b.source.raw[s.key])
		if s.key == oidcRoles { // a table, of which the raw values have keys of their own
			same = maps.Equal(a.SignIn.OIDC.Roles, b.SignIn.OIDC.Roles)
		}
		if !same {
			out = append(out, s.key)
		}
	}
	return out
}

// NeedRestart lists the keys of b that differ from a's and have no effect on a
// node that was started with a.
func NeedRestart(a, b *Config) []string {
	live := map[string]bool{}
	for _, s := range settings {
		live[s.key] = s.live
	}
	// A listener does not turn from plaintext to TLS or back while it runs.
	if (a.Proxy.TLS.CertFile == "") != (b.Proxy.TLS.CertFile == "") {
		live["proxy.tls.cert_file"] = false
	}
	plain := func(c *Config) bool {
		return c.Admin.TLS.CertFile == "" && (c.Admin.Insecure || c.Admin.Loopback())
	}
	if plain(a) != plain(b) {
		live["admin.tls.cert_file"] = false
	}
	return slices.DeleteFunc(Changed(a, b), func(key string) bool { return live[key] })
}
