package nodetest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// types lists the types of all notices that came, sorted.
func (r *receiver) types() (types []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.bodies {
		_, rest, _ := strings.Cut(body, `"type":"`)
		kind, _, _ := strings.Cut(rest, `"`)
		types = append(types, kind)
	}
	slices.Sort(types)
	return types
}

// Three nodes that find one cause send one notice of it: a browser's live key, a limit that
// is exceeded, a month that is used up to its thresholds; and a leaked key is told of.
func TestAlertsOfThreeNodes(t *testing.T) {
	c := nodetest.Start(t, 3, withPrivateWebhooks)
	c.WaitHealthy()
	r := newReceiver(t)
	hook, err := client.Webhooks{Client: c.API(0)}.Create(context.Background(), client.NewWebhook{URL: r.URL, Events: []string{
		"key.exposed", "rate_limit.exceeded", "usage.threshold", "key.revoked",
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.set(false, *hook.Secret)
	one, ten := int64(1), int64(10)
	if _, err := c.API(0).Accounts().Update(context.Background(), "default", client.Patch{"alert_thresholds": []int{50, 90}}); err != nil {
		t.Fatal(err)
	}
	create := func(name string, limits *client.Limits) string {
		t.Helper()
		k, err := c.API(0).CreateKey(context.Background(), client.NewKey{Name: name, Type: "live", Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		return *k.Secret
	}
	month, minute, browser := create("month", &client.Limits{PerMonth: &ten}), create("minute", &client.Limits{PerMinute: &one}), create("browser", nil)
	for i := range 12 {
		on := c.Nodes[i%3]
		if got, want := on.Get(month).Status, map[bool]int{true: 200, false: 429}[i < 10]; got != want {
			t.Errorf("request %d of ten: %d, want %d", i+1, got, want)
		}
		on.Get(minute)
		on.Get(minute)
		req, err := http.NewRequest(http.MethodGet, on.Proxy()+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+browser)
		req.Header.Set("Origin", "https://shop.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("a browser's request: %v %v", resp, err)
		}
		resp.Body.Close()
	}
	if err := c.API(1).RevokeLeakedKey(context.Background(), browser); err != nil {
		t.Fatal(err)
	}
	// The month's own refusals are a limit that is exceeded, too, of another key.
	want := []string{"key.exposed", "key.revoked", "rate_limit.exceeded", "rate_limit.exceeded", "usage.threshold", "usage.threshold"}
	c.Until("each cause has come once", func() error {
		if got := r.types(); !slices.Equal(got, want) {
			return fmt.Errorf("notices %v, want %v", got, want)
		}
		return nil
	})
	c.Until("nothing waits any more", func() error {
		w, err := client.Webhooks{Client: c.API(0)}.Get(context.Background(), hook.ID)
		if err == nil && w.Pending > 0 {
			err = fmt.Errorf("%d deliveries wait", w.Pending)
		}
		return err
	})
	if got := r.types(); !slices.Equal(got, want) {
		t.Errorf("notices %v, want %v", got, want)
	}
}
