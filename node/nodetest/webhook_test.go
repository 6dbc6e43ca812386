package nodetest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// withPrivateWebhooks lets nodes send webhooks to this machine.
func withPrivateWebhooks(_ int, s *nodetest.Setup) {
	s.File = "[webhooks]\nallow_private = [\"127.0.0.1\"]\n"
}

// receiver is an endpoint that holds perfgate to what it promises.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	down    bool
	secrets []string            // each signs
	bodies  map[string]string   // by webhook-id
	of      map[string][]string // types by key id, in the order of their first arrival
	total   int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, bodies: map[string]string{}, of: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.total++
	id := req.Header.Get("webhook-id")
	r.verify(req.Header, id, body)
	if before, seen := r.bodies[id]; seen {
		if before != string(body) {
			r.t.Errorf("%s has another body than before", id)
		}
		return
	}
	r.bodies[id] = string(body)
	var n struct {
		ID, Type, Account string
		Data              struct{ Key struct{ ID string } }
	}
	if err := json.Unmarshal(body, &n); err != nil || n.ID != id || n.Account != "default" {
		r.t.Errorf("%s: body %s (%v)", id, body, err)
	}
	r.of[n.Data.Key.ID] = append(r.of[n.Data.Key.ID], n.Type)
}

// verify holds each secret to a signature of Standard Webhooks, and one of them to the
// digest that the seed's verify_webhook compares.
func (r *receiver) verify(h http.Header, id string, body []byte) {
	own := 0
	for _, secret := range r.secrets {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write(body)
		if hex.EncodeToString(m.Sum(nil)) == h.Get("X-Perf-Signature") {
			own++
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			r.t.Error(err)
		}
		m = hmac.New(sha256.New, key)
		fmt.Fprintf(m, "%s.%s.%s", id, h.Get("webhook-timestamp"), body)
		if !slices.Contains(strings.Fields(h.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil))) && len(r.secrets) == 1 {
			r.t.Errorf("%s: the signature %s is wrong", id, h.Get("webhook-signature"))
		}
	}
	if own != 1 {
		r.t.Errorf("%s: the signature of the body fits %d secrets", id, own)
	}
}

func (r *receiver) set(down bool, secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
	r.secrets = append(r.secrets, secrets...)
}

// missing are the keys without both of their notices.
func (r *receiver) missing(keys []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, id := range keys {
		if !slices.Equal(r.of[id], []string{"key.created", "key.revoked"}) {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d keys lack a notice; %d deliveries came", n, len(keys), r.total)
	}
	return nil
}

// Every notice of a write that was answered arrives, with a valid signature and under one
// id, although leaders are killed, the endpoint fails for a while and its secret is
// rotated; and those of one key arrive in order.
func TestWebhooksSurviveLeaders(t *testing.T) {
	c := nodetest.Start(t, 3, withPrivateWebhooks)
	c.WaitHealthy()
	r := newReceiver(t)
	hook, err := client.Webhooks{Client: c.API(0)}.Create(context.Background(), client.NewWebhook{URL: r.URL, Events: []string{"key.created", "key.revoked"}})
	if err != nil {
		t.Fatal(err)
	}
	r.set(false, *hook.Secret)
	var keys []string
	write := func(n int) {
		t.Helper()
		for range n {
			on := c.Follower()
			id, _ := c.Key(on, fmt.Sprint("k", len(keys)))
			c.Until("key "+id+" is revoked", func() error {
				_, err := c.API(on).RevokeKey(context.Background(), id, "test")
				return err
			})
			keys = append(keys, id)
		}
	}
	write(40)
	for round := range 2 {
		r.set(round == 0)
		leader := c.Leader()
		write(15)
		c.Kill(leader)
		write(15)
		r.set(false)
		c.Restart(leader)
		c.WaitHealthy()
	}
	c.Until("the secret is rotated", func() error {
		w, err := client.Webhooks{Client: c.API(0)}.RotateSecret(context.Background(), hook.ID, "1h")
		if err == nil {
			r.set(false, *w.Secret)
		}
		return err
	})
	write(20)
	c.Until("every notice has arrived", func() error { return r.missing(keys) })
	t.Logf("%d keys, %d deliveries for %d notices", len(keys), r.total, 2*len(keys))
	c.Until("nothing waits any more", func() error {
		w, err := client.Webhooks{Client: c.API(0)}.Get(context.Background(), hook.ID)
		if err == nil && w.Pending > 0 {
			err = fmt.Errorf("%d deliveries wait", w.Pending)
		}
		return err
	})
}

// A test call shows how the endpoint answered; one to an address that is not allowed is
// refused before anything is sent.
func TestWebhookTestCall(t *testing.T) {
	c := nodetest.Start(t, 1, withPrivateWebhooks)
	c.WaitReady()
	r := newReceiver(t)
	hooks := client.Webhooks{Client: c.API(0)}
	hook, err := hooks.Create(context.Background(), client.NewWebhook{URL: r.URL})
	if err != nil {
		t.Fatal(err)
	}
	r.set(false, *hook.Secret)
	d, err := hooks.Test(context.Background(), hook.ID)
	if err != nil || d.State != "delivered" || d.Attempts != 1 || d.Log[0].Status == nil || *d.Log[0].Status != 200 {
		t.Errorf("%+v %v", d, err)
	}
	r.set(true)
	if d, err = hooks.Test(context.Background(), hook.ID); err != nil || d.State != "pending" || *d.Log[0].Error != "answered 503" || d.NextAttemptAt == nil {
		t.Errorf("%+v %v", d, err)
	}
	// A name is judged when it is resolved, an address at once.
	if hook, err = hooks.Create(context.Background(), client.NewWebhook{URL: "http://localhost:80/"}); err != nil {
		t.Fatal(err)
	}
	d, err = hooks.Test(context.Background(), hook.ID)
	if err != nil || d.State != "pending" || d.Log[0].Error == nil {
		t.Errorf("%+v %v", d, err)
	}
	for _, target := range []string{"http://127.0.0.2:80/", "http://169.254.169.254/latest/", "http://[::1]:80/", "http://10.0.0.1/"} {
		if _, err := hooks.Create(context.Background(), client.NewWebhook{URL: target}); err == nil || !strings.Contains(err.Error(), "is not a public address") {
			t.Errorf("%s: %v", target, err)
		}
		if _, err := hooks.Update(context.Background(), hook.ID, client.Patch{"url": target}); err == nil || !strings.Contains(err.Error(), "is not a public address") {
			t.Errorf("change to %s: %v", target, err)
		}
	}
}
