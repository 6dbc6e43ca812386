package node

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/metering"
	"github.com/perfgate/perfgate/store/local"
)

// openMetering begins to send usage to the system that bills it, if there is one.
func (o *overall) openMetering(n *Node) error {
	m := &n.config.Metering
	if m.URL == "" {
		return nil
	}
	roots, token, err := n.config.MeteringFiles()
	if err != nil {
		return err
	}
	queue, err := local.NewMeter(n.local)
	if err != nil {
		return err
	}
	form := metering.Form(m.Format)
	post := metering.NewPoster(m.URL, token, form, roots)
	n.cleanup("metering connections", func(context.Context) error { post.Close(); return nil })
	feed := metering.New(metering.Config{Queue: queue, Form: form, Post: post.Post, Node: n.replica.Identity().ID, Logger: n.log})
	o.feed.Store(feed)
	n.background.run(feed.Run)
	return nil
}

// outbound collects the figures of what this node sends of its log and its usage. A sink's label
// is its place in the configuration.
type outbound struct {
	o *overall

	sinkEvents, sinkFailures, sinkLag            *prometheus.Desc
	meteredEvents, meteredFailures, meteredQueue *prometheus.Desc
}

func newOutbound(o *overall) *outbound {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("perfgate_"+name, help, labels, nil)
	}
	return &outbound{
		o:               o,
		sinkEvents:      desc("audit_sink_events_total", "Audit events by sink: sent, or dropped because the receiver refused them ten times or they are damaged.", "sink", "outcome"),
		sinkFailures:    desc("audit_sink_failures_total", "Batches that a sink did not take, and reads of the log that failed.", "sink"),
		sinkLag:         desc("audit_sink_lag_seconds", "Age of the oldest event that waits for a sink; 0 if none does.", "sink"),
		meteredEvents:   desc("metering_events_total", "Events of usage: sent, dropped because the receiver refused them ten times, or damaged on the disk.", "outcome"),
		meteredFailures: desc("metering_failures_total", "Calls to the receiver of usage that failed."),
		meteredQueue:    desc("metering_pending_events", "Events of usage that wait for the receiver."),
	}
}

// Describe implements [prometheus.Collector].
func (c *outbound) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements [prometheus.Collector].
func (c *outbound) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if list := c.o.sinks.Load(); list != nil {
		for i, s := range *list {
			f, name := s.Figures(), strconv.Itoa(i)
			counter(c.sinkEvents, f.Sent, name, "sent")
			counter(c.sinkEvents, f.Dropped, name, "dropped")
			counter(c.sinkFailures, f.Failed, name)
			gauge(c.sinkLag, f.Lag.Seconds(), name)
		}
	}
	if feed := c.o.feed.Load(); feed != nil {
		sent, failed, dropped, waiting := feed.Figures()
		counter(c.meteredEvents, sent, "sent")
		counter(c.meteredEvents, dropped, "dropped")
		counter(c.meteredEvents, feed.Damaged(), "damaged")
		counter(c.meteredFailures, failed)
		gauge(c.meteredQueue, float64(waiting))
	}
}
