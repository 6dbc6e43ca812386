package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// timeout bounds the sending of one message.
const timeout = 30 * time.Second

// implicitTLS is the port on which a connection begins with TLS (RFC 8314).
const implicitTLS = 465

// Config names a server and the parties of each message.
type Config struct {
	Server             string // HOST:PORT
	From               string
	To                 []string
	Username, Password string         // of a server that asks for them
	Roots              *x509.CertPool // nil is the system's
}

// Sender sends messages.
type Sender struct{ cfg Config }

// New returns a sender.
func New(cfg Config) *Sender { return &Sender{cfg} }

// Send sends one message of plain text to all recipients.
func (s *Sender) Send(ctx context.Context, subject, text string) error {
	m := gomail.NewMsg()
	if err := m.From(s.cfg.From); err != nil {
		return fmt.Errorf("mail.from: %w", err)
	}
	if err := m.To(s.cfg.To...); err != nil {
		return fmt.Errorf("mail.to: %w", err)
	}
	m.Subject(subject)
	m.SetDate()
	m.SetMessageID()
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answers from holidays
	m.SetBodyString(gomail.TypeTextPlain, text)
	c, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := c.DialAndSendWithContext(ctx, m); err != nil {
		return fmt.Errorf("send e-mail by %s: %w", s.cfg.Server, err)
	}
	return nil
}

func (s *Sender) client() (*gomail.Client, error) {
	host, digits, err := net.SplitHostPort(s.cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("mail.smtp: %w", err)
	}
	port, err := strconv.Atoi(digits)
	if err != nil {
		return nil, fmt.Errorf("mail.smtp: %w", err)
	}
	options := []gomail.Option{
		gomail.WithPort(port), gomail.WithTimeout(timeout),
		gomail.WithTLSConfig(&tls.Config{ServerName: host, RootCAs: s.cfg.Roots, MinVersion: tls.VersionTLS12}),
	}
	switch {
	case port == implicitTLS:
		options = append(options, gomail.WithSSL())
	case loopback(host):
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.cfg.Username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.cfg.Username), gomail.WithPassword(s.cfg.Password))
	}
	c, err := gomail.NewClient(host, options...)
	if err != nil {
		return nil, fmt.Errorf("prepare e-mail: %w", err)
	}
	return c, nil
}

// loopback reports whether host is this machine, whose relay needs no TLS.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
