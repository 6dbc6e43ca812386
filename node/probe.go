package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/perfgate/perfgate/node/config"
)

// Bounds of a probe: the time for one upstream, and the upstreams at a time.
const (
	probeTimeout = 5 * time.Second
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
		d = &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
