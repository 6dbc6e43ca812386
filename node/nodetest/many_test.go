package nodetest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// Ten thousand notices of one command arrive, with a leader killed in between.
func TestManyWebhooks(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 notices")
	}
	c := nodetest.Start(t, 3, withPrivateWebhooks)
	c.WaitHealthy()
	r := newReceiver(t)
	hook, err := client.Webhooks{Client: c.API(0)}.Create(context.Background(), client.NewWebhook{URL: r.URL, Events: []string{"key.created"}})
	if err != nil {
		t.Fatal(err)
	}
	r.set(false, *hook.Secret)
	const n = 10_000
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"name":"k","type":"test","key":"an-imported-key-%09d"}`+"\n", i)
	}
	began := time.Now()
	if _, err := c.API(0).ImportKeys(context.Background(), strings.NewReader(lines.String())); err != nil {
		t.Fatal(err)
	}
	t.Logf("import: %v", time.Since(began))
	arrived := func(most int) func() error {
		return func() error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.bodies) < most {
				return fmt.Errorf("%d of %d notices", len(r.bodies), most)
			}
			return nil
		}
	}
	c.Until("a third has arrived", arrived(n/3))
	c.Kill(c.Leader())
	c.Until("every notice has arrived", arrived(n))
	t.Logf("%d notices in %v by %d deliveries", n, time.Since(began).Round(time.Millisecond), r.total)
}
