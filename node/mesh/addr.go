package mesh

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// address is a host:port for other nodes; the host may be a name.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// advertise returns the address at which others reach a port bound at bound: the
// configured one; else the host that it listens on; else the first address of an
// interface that is not loopback; else loopback.
func advertise(conf, listen string, bound net.Addr) (address, error) {
	at, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("the cluster port is bound to %q: %w", bound, err)
	}
	port := strconv.Itoa(int(at.Port()))
	if conf != "" {
		host, p, err := net.SplitHostPort(conf)
		if err != nil {
			return "", fmt.Errorf("cluster.advertise %q: %w; must be HOST:PORT", conf, err)
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return "", fmt.Errorf("cluster.advertise %q: other nodes cannot reach an unspecified host; give one of the machine's addresses", conf)
		}
		if n, err := strconv.ParseUint(p, 10, 16); err != nil {
			return "", fmt.Errorf("cluster.advertise %q: must be HOST:PORT with a port number", conf)
		} else if n == 0 {
			p = port
		}
		return address(net.JoinHostPort(host, p)), nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("cluster.listen %q: %w; must be HOST:PORT", listen, err)
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return address(net.JoinHostPort(host, port)), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find an address to advertise: %w; set cluster.advertise", err)
	}
	return address(net.JoinHostPort(outside(addrs, at.Addr().Unmap().Is4()), port)), nil
}

// outside returns the first address that other machines may reach: IPv4 before
// IPv6, no link-local ones because they need a zone. Loopback if there is none.
func outside(addrs []net.Addr, only4 bool) string {
	var six string
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			return n.IP.String()
		}
		if six == "" {
			six = n.IP.String()
		}
	}
	if six != "" && !only4 {
		return six
	}
	return "127.0.0.1"
}
