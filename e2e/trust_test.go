package e2e

import "testing"

// Each listener trusts its own proxies, and not the other's.
func TestTrustIsPerListener(t *testing.T) {
	up, _ := echo(t)
	for _, trusting := range []string{"proxy", "admin"} {
		s := start(t, options{upstream: up, config: "[" + trusting + "]\ntrusted_proxies = [\"127.0.0.1/32\"]\n"})
		key, _ := s.create(map[string]any{"scopes": []string{"admin"}, "allowlist": []string{"203.0.113.9"}})
		for listener, base := range map[string]string{"proxy": s.proxy, "admin": s.admin} {
			r := do(t, "GET", base+"/v1/keys", as(key, header{"X-Forwarded-For": "203.0.113.9"}), nil)
			if listener == trusting && r.StatusCode != 200 || listener != trusting && r.Code() != "ip_not_allowed" {
				t.Errorf("only %s trusts the peer; %s answers %s\n%s", trusting, listener, r.Status, r.Raw)
			}
		}
	}
}
