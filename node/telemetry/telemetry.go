package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

const (
	// Interval is the time between two messages.
	Interval = 15 * time.Second

	sendTimeout = 10 * time.Second // of one message, with the connection
	lastTimeout = 3 * time.Second  // of the one that a stop sends
)

// Config says what is sent, and where to.
type Config struct {
	Endpoint string // base URL of the collector; its path is kept, and OTLP's appended
	Metrics  client.Gatherer
	Node     string // name of this node
	Region   string // "" is none
	Version  string
	Logger   *slog.Logger

	interval time.Duration // for tests; 0 is Interval
}

// Run sends until ctx ends, and once more then.
func Run(ctx context.Context, c Config) error {
	to, err := otlpmetrichttp.New(ctx,
		otlpmetrichttp.WithEndpointURL(strings.TrimSuffix(c.Endpoint, "/")+"/v1/metrics"),
		otlpmetrichttp.WithTimeout(sendTimeout), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression),
		// The next message repeats all totals, so that none need be sent twice.
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: false}),
	)
	if err != nil {
		return fmt.Errorf("send telemetry: %w", err)
	}
	interval := c.interval
	if interval == 0 {
		interval = Interval
	}
	reader := metric.NewPeriodicReader(&exporter{Exporter: to, logger: c.Logger}, metric.WithInterval(interval), metric.WithTimeout(sendTimeout),
		metric.WithProducer(prometheus.NewMetricProducer(prometheus.WithGatherer(c.Metrics))))
	attributes := []attribute.KeyValue{
		attribute.String("service.name", "perfgate"), attribute.String("service.instance.id", c.Node), attribute.String("service.version", c.Version),
	}
	if c.Region != "" {
		attributes = append(attributes, attribute.String("perfgate.region", c.Region))
	}
	provider := metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(resource.NewSchemaless(attributes...)))
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.Background(), lastTimeout)
	defer cancel()
	_ = provider.Shutdown(last) // a collector that has gone is logged, and does not hold the stop up
	return nil
}

// exporter logs when messages begin to fail and when they arrive again. The reader would
// print each error to stderr.
type exporter struct {
	metric.Exporter
	logger *slog.Logger
	failed bool // the last message; the reader sends one at a time
}

func (e *exporter) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	err := e.Exporter.Export(ctx, m)
	switch {
	case errors.Is(err, context.Canceled): // the stop sends another one
		return nil
	case err != nil && !e.failed:
		e.logger.Warn("send telemetry; check telemetry.otlp_endpoint and the collector", "error", err)
	case err == nil && e.failed:
		e.logger.Info("telemetry is sent again")
	}
	e.failed = err != nil
	return nil
}
