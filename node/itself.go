package node

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/node/config"
)

// lookupTime bounds the lookup of this machine's own name.
const lookupTime = time.Second

// machine is how this machine is reached.
type machine struct {
	name  string   // its host name; "" if it has none
	named []string // the addresses that the name stands for; nil if no upstream has the name
	addrs []string // the addresses of its interfaces
}

// thisMachine asks the system, and the resolver only if one of ups has the machine's name:
// without a resolver, that delays a start.
func thisMachine(ups []upstream) (m machine) {
	if all, err := net.InterfaceAddrs(); err == nil {
		for _, a := range all {
			if ip, ok := a.(*net.IPNet); ok {
				m.addrs = append(m.addrs, ip.IP.String())
			}
		}
	}
	m.name, _ = os.Hostname()
	if !slices.ContainsFunc(ups, func(up upstream) bool { return m.called(up.url.Hostname()) }) {
		return m
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	m.named, _ = net.DefaultResolver.LookupHost(ctx, m.name) // without an answer, the name alone counts
	return m
}

// hosts are the addresses that a connection to host may go to, and host itself.
func (m machine) hosts(host string) []string {
	switch {
	case strings.EqualFold(strings.TrimSuffix(host, "."), "localhost"):
		return []string{host, "127.0.0.1", "::1"}
	case m.called(host):
		return append([]string{host}, m.named...)
	}
	return []string{host}
}

// called reports whether name is the machine's own, with its domain or without.
func (m machine) called(name string) bool {
	name = strings.TrimSuffix(name, ".")
	short, _, qualified := strings.Cut(m.name, ".")
	return m.name != "" && (strings.EqualFold(name, m.name) || qualified && strings.EqualFold(name, short))
}

// owns reports whether host, one of [machine.hosts], is this machine.
func (m machine) owns(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return m.called(host)
	}
	plain := ip.Unmap().String()
	return ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(m.addrs, plain) || slices.Contains(m.named, plain)
}

// reaches reports whether a connection to u ends at the listener with the address
// listen.
func (m machine) reaches(u *url.URL, listen string) bool {
	bound, _, _ := net.SplitHostPort(listen)
	ip, err := netip.ParseAddr(bound)
	everywhere := bound == "" || err == nil && ip.IsUnspecified()
	return slices.ContainsFunc(m.hosts(u.Hostname()), func(host string) bool {
		return config.Overlap(net.JoinHostPort(host, port(u)), listen) && (!everywhere || m.owns(host))
	})
}
