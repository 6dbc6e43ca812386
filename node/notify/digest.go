package notify

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
)

// The bounds of digests.
const (
	digestLook  = time.Minute // between looks whether one is due
	digestLines = 200         // events in one; it counts the others
	digestLag   = time.Minute // of its end: a node with a slow clock may still write an event of before
	digestAgain = time.Hour   // at most, between attempts at one that could not be sent
)

// DigestState is the part of the replicated state that digests are made of.
type DigestState interface {
	LastDigest() (time.Time, error)
	Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID)
	Events(store.EventQuery) iter.Seq2[*store.Event, error]
	Initialized() bool
	ClusterLevel() int
}

// Digester tells by e-mail what needs attention, once in each period in which something
// does. The leader sends; the state knows up to when.
type Digester struct {
	State   DigestState
	Every   time.Duration
	Send    func(ctx context.Context, subject, text string) error
	Propose func(context.Context, *store.Command) (store.Result, error)
	Leads   func() bool
	Node    string
	Logger  *slog.Logger
	Now     func() time.Time
}

// Run sends digests until ctx ends.
func (d *Digester) Run(ctx context.Context) {
	wait, failures := digestLook, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = digestLook
		if !d.Leads() || !d.State.Initialized() || d.State.ClusterLevel() < store.LevelOfWebhooks {
			continue
		}
		if err := d.round(ctx); err != nil && ctx.Err() == nil {
			failures++
			wait = min(digestLook<<min(failures, 10), digestAgain)
			d.Logger.Error("the digest by e-mail is not sent; tried again", "error", err, "after", wait)
		} else {
			failures = 0
		}
	}
}

// round sends a digest if one is due. The first period begins when there is none.
func (d *Digester) round(ctx context.Context) error {
	last, err := d.State.LastDigest()
	if err != nil {
		return err
	}
	now := d.Now().Add(-digestLag).UTC().Truncate(time.Second)
	if !last.IsZero() {
		if now.Sub(last) < d.Every {
			return nil
		}
		g := digest{from: last, to: now}
		if err := g.collect(d.State); err != nil {
			return err
		}
		if g.total > 0 {
			if err := d.Send(ctx, g.subject(), g.text()); err != nil {
				return err
			}
		}
	}
	r, err := d.Propose(ctx, &store.Command{
		At: now, Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "system", Name: d.Node}, Change: &store.Digest{From: last, To: now},
	})
	if err == nil && r.Refusal != nil {
		err = r.Refusal
	}
	return err
}

// digest is what needs attention of a period.
type digest struct {
	from, to time.Time
	lines    []string
	total    int
}

// collect reads the events of all accounts.
func (g *digest) collect(from DigestState) error {
	var after store.AccountID
	for {
		page, next := from.Accounts(after, duePage)
		for _, a := range page {
			title := false
			for e, err := range from.Events(store.EventQuery{Account: a.ID, From: g.from, To: g.to}) {
				if err != nil {
					return err
				}
				line := attention(e)
				if line == "" {
					continue
				}
				if g.total++; g.total > digestLines {
					continue
				}
				if !title {
					g.lines = append(g.lines, "", fmt.Sprintf("Account %s (%s)", a.ID, plain(a.Name)))
					title = true
				}
				g.lines = append(g.lines, "  "+e.Time.UTC().Format("2006-01-02 15:04")+"  "+line)
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// attention is the line about an event that needs some; "" about any other.
func attention(e *store.Event) string {
	switch {
	case e.Action == "alert.raise" && e.Target == store.NoticeRevoked: // an overlap has ended, as was asked
	case e.Action == "alert.raise" && e.KeyID != "":
		return fmt.Sprintf("%s  key %s", e.Target, e.KeyID)
	case e.Action == "alert.raise":
		return fmt.Sprintf("%s  %s", e.Target, plain(e.Reason))
	case e.Action == "key.revoke" && e.Reason == "leaked":
		return fmt.Sprintf("key %s was reported as leaked and is revoked", e.KeyID)
	case e.Action == "webhook.disable", e.Action == "webhook.overflow":
		return fmt.Sprintf("webhook %s: %s", e.Target, plain(e.Reason))
	}
	return ""
}

// plain keeps text that others chose on one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}

func (g *digest) subject() string {
	if g.total == 1 {
		return "perfgate: 1 event needs attention"
	}
	return fmt.Sprintf("perfgate: %d events need attention", g.total)
}

func (g *digest) text() string {
	var b strings.Builder
	const layout = "2006-01-02 15:04"
	fmt.Fprintf(&b, "From %s to %s UTC:\n", g.from.UTC().Format(layout), g.to.UTC().Format(layout))
	for _, line := range g.lines {
		b.WriteString(line + "\n")
	}
	if more := g.total - digestLines; more > 0 {
		fmt.Fprintf(&b, "\nand %d more.\n", more)
	}
	b.WriteString("\nThe audit log has the rest: perfgate audit list --action alert.raise\n")
	return b.String()
}
