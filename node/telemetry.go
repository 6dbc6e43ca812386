package node

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/telemetry"
)

// sendTelemetry sends what /metrics has to a collector, if one is configured.
func sendTelemetry(n *Node, metrics prometheus.Gatherer) {
	c := telemetry.Config{
		Endpoint: n.config.Telemetry.OTLPEndpoint, Metrics: metrics,
		Node: n.config.Node.Name, Region: n.config.Node.Region, Version: n.options.Version, Logger: n.log,
	}
	if c.Endpoint == "" {
		return
	}
	n.background.run(func(ctx context.Context) {
		if err := telemetry.Run(ctx, c); err != nil {
			n.log.Error("telemetry is off", "error", err)
		}
	})
}
