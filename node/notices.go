package node

import (
	"context"
	"math/rand/v2"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/node/mail"
	"github.com/perfgate/perfgate/node/notify"
)

// openNotices starts what raises alerts, and what sends webhooks while this node leads.
func (n *Node) openNotices() error {
	post := webhook.NewSender(n.options.Version, n.config.Webhooks.AllowPrivate)
	n.cleanup("webhook connections", func(context.Context) error { post.Close(); return nil })
	n.background.run(notify.New(notify.Config{
		State: n.store, Node: n.config.Node.Name, Propose: n.proposeGrant, Leads: n.replica.Leads, Post: post.Send,
		Logger: n.log, Random: rand.Float64, Counts: &n.notices,
	}).Run)
	alerts := notify.AlertConfig{State: n.store, Node: n.config.Node.Name, Propose: n.proposeGrant, Logger: n.log, Now: n.clock.Wall}
	if !n.lone() {
		alerts.Nodes = func() int { return len(n.store.Members()) }
		alerts.Everywhere = n.overall.failing
	}
	n.alerts = notify.NewAlerts(alerts)
	n.background.run(n.alerts.Run)
	due := notify.Due{State: n.store, Alerts: n.alerts, Leads: n.replica.Leads, Logger: n.log, Now: n.clock.Wall}
	n.background.run(due.Run)
	return openDigests(n)
}

// openDigests starts what sends digests by e-mail, if there is a server for it.
func openDigests(n *Node) error {
	m := &n.config.Mail
	if m.SMTP == "" {
		return nil
	}
	password, err := n.config.MailPassword()
	if err != nil {
		return err
	}
	post := mail.New(mail.Config{Server: m.SMTP, From: m.From, To: m.To, Username: m.Username, Password: password})
	digests := notify.Digester{
		State: n.store, Every: m.Digest, Send: post.Send, Propose: n.proposeGrant, Leads: n.replica.Leads, Node: n.config.Node.Name,
		Logger: n.log, Now: n.clock.Wall,
	}
	n.background.run(digests.Run)
	return nil
}

// registerNotices adds the metrics of webhooks.
func registerNotices(r *prometheus.Registry, n *Node) {
	attempts := func(outcome, help string, count func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "webhook", Name: "deliveries_total", Help: help, ConstLabels: prometheus.Labels{"outcome": outcome},
		}, func() float64 { return float64(count()) })
	}
	const help = "Deliveries of webhooks by this node: delivered, tried again later, or given up."
	r.MustRegister(
		attempts("delivered", help, n.notices.Delivered.Load),
		attempts("retried", help, n.notices.Retried.Load),
		attempts("failed", help, n.notices.Failed.Load),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Subsystem: "webhook", Name: "pending_deliveries",
			Help: "Deliveries of webhooks that wait, in the whole cluster.",
		}, func() float64 {
			waiting, err := n.store.AllPending()
			if err != nil {
				n.log.Warn("count the deliveries that wait", "error", err)
			}
			return float64(waiting)
		}),
	)
}
