package webhook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// Addresses by what may be reached without being listed.
func TestGuard(t *testing.T) {
	for _, c := range []struct {
		addr string
		open bool
	}{
		{"8.8.8.8", true}, {"93.184.215.14", true}, {"1.1.1.1", true}, {"2606:4700::1111", true}, {"2a00:1450:4001::5e", true},
		{"127.0.0.1", false}, {"127.255.255.254", false}, {"0.0.0.0", false}, {"0.1.2.3", false}, {"::1", false}, {"::", false},
		{"10.0.0.1", false}, {"172.16.0.1", false}, {"172.31.255.255", false}, {"172.32.0.1", true}, {"192.168.1.1", false},
		{"169.254.169.254", false}, {"169.254.170.2", false}, {"100.64.0.1", false}, {"100.100.100.200", false}, {"100.128.0.1", true},
		{"168.63.129.16", false}, {"::ffff:168.63.129.16", false}, {"168.63.129.15", true}, {"168.63.129.17", true}, {"192.0.0.192", false}, {"192.0.2.1", false}, {"198.18.0.1", false}, {"198.51.100.1", false}, {"203.0.113.1", false},
		{"224.0.0.1", false}, {"240.0.0.1", false}, {"255.255.255.255", false},
		{"::ffff:127.0.0.1", false}, {"::ffff:169.254.169.254", false}, {"::ffff:8.8.8.8", true}, {"::127.0.0.1", false},
		{"64:ff9b::7f00:1", false}, {"64:ff9b::a9fe:a9fe", false}, {"64:ff9b:1::a00:1", false}, {"64:ff9b::808:808", false},
		{"2002:7f00:1::", false}, {"2002:a00:1::1", false}, {"2001:0:4136:e378::1", false}, {"2001:db8::1", false},
		{"fe80::1", false}, {"fe80::1%1", false}, {"fc00::1", false}, {"fd00:ec2::254", false}, {"fec0::1", false}, {"ff02::1", false},
		{"100::1", false}, {"3fff::1", false}, {"4000::1", false},
	} {
		a := netip.MustParseAddr(c.addr)
		if err := (guard{}).check(a); (err == nil) != c.open {
			t.Errorf("%s: %v", c.addr, err)
		}
		if err := (guard{prefixes("0.0.0.0/0", "::/0")}).check(a); err != nil {
			t.Errorf("%s, although all are listed: %v", c.addr, err)
		}
	}
	some := guard{prefixes("10.1.0.0/16", "::1/128")}
	for addr, open := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "::1": true, "127.0.0.1": false} {
		if err := some.check(netip.MustParseAddr(addr)); (err == nil) != open {
			t.Errorf("%s with a list: %v", addr, err)
		}
	}
}

// Names, odd spellings of addresses and redirects lead nowhere that is private: the address
// is judged when the connection is made.
func TestPrivateTargetsAreRefused(t *testing.T) {
	reached := 0
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer private.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(private.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s := NewSender("test", nil)
	defer s.Close()
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.1", "2130706433", "0x7f000001"} {
		o := s.Send(context.Background(), &Notice{URL: "http://" + host + ":" + port + "/", ID: "msg_1", Body: []byte("{}")})
		var no *Refused
		if o.Err == nil || !errors.As(o.Err, &no) && !strings.Contains(o.Err.Error(), "lookup") {
			t.Errorf("%s: %+v", host, o)
		}
	}
	// A name whose answer changes after it was checked gains nothing: each dial is judged.
	transport := s.transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, "localhost:"+port)
	}
	if o := s.Send(context.Background(), &Notice{URL: "http://public.example/", ID: "msg_1"}); o.Err == nil {
		t.Errorf("a name that resolves to loopback: %+v", o)
	}
	if reached != 0 {
		t.Errorf("the private server was reached %d times", reached)
	}
}

func TestCheckURL(t *testing.T) {
	for raw, good := range map[string]bool{
		"https://example.com/hook?x=1": true, "http://10.0.0.1:8080": true, "https://[2001:db8::1]/": true,
		"": false, "example.com": false, "ftp://example.com": false, "https://": false, "https:///x": false, "https:example.com": false,
		"https://user:pass@example.com/": false, "https://example.com/#x": false, "https://exa mple.com/": false, "file:///etc/passwd": false,
		"https://example.com/" + strings.Repeat("x", MaxURL): false,
	} {
		if err := CheckURL(raw); (err == nil) != good {
			t.Errorf("%.40q: %v", raw, err)
		}
	}
}

// A URL with an address that is never connected to is known to fail; a name is not.
func TestCheckTarget(t *testing.T) {
	allowed := prefixes("10.1.2.0/24")
	for raw, ok := range map[string]bool{
		"https://169.254.169.254/x": false, "http://127.0.0.1:1/": false, "https://[::1]/": false, "https://[::ffff:10.0.0.1]/": false,
		"https://10.1.2.3/": true, "https://10.1.3.3/": false, "https://8.8.8.8/": true, "https://localhost/": true, "https://example.com/": true,
	} {
		if err := CheckTarget(raw, allowed); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
