package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/config"
)

// Bounds of a probe: the time for one upstream, the time for its refusal of a certificate,
// and the upstreams at a time.
const (
	probeTimeout = 5 * time.Second
	probeRead    = time.Second
	probesAtOnce = 16
)

// probe connects to every upstream of c, over TLS where its URL says so, and sends
// nothing. The error names those that cannot be reached.
func probe(ctx context.Context, c *config.Config) error {
	all := upstreams(c)
	faults := make([]error, len(all))
	slots := make(chan struct{}, probesAtOnce)
	var wg sync.WaitGroup
	for i, up := range all {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			if err := dial(ctx, up); err != nil {
				// Not the configuration is wrong: the exit code is that of any failure.
				faults[i] = errors.New(c.FaultAt(up.key, up.place, up.url.Redacted(), fmt.Sprintf("connect: %v", err)).Error())
			}
		})
	}
	wg.Wait()
	return errors.Join(faults...)
}

func dial(ctx context.Context, up upstream) error {
	address := net.JoinHostPort(up.url.Hostname(), port(up.url))
	var d interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{}
	if up.url.Scheme == "https" {
		settings := proxy.UpstreamTLS(up.tls)
		secured, faults := settings.Config()
		if len(faults) > 0 {
			return errors.Join(faults...)
		}
		d = &tls.Dialer{Config: secured}
	}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if up.url.Scheme == "https" {
		return refusal(conn)
	}
	return nil
}

// refusal is the alert by which an upstream ends a handshake that is over for its client:
// in TLS 1.3, that it does not accept the client's certificate.
func refusal(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(probeRead)); err != nil {
		return err
	}
	var alert *net.OpError
	if _, err := conn.Read(make([]byte, 1)); errors.As(err, &alert) && alert.Op == "remote error" {
		return err
	}
	return nil
}
