package mesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// authority is a cluster's CA.
type authority struct {
	id        string
	cert, key []byte
}

func newAuthority(t testing.TB, id string) *authority {
	t.Helper()
	cert, key, err := NewCA(id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &authority{id, cert, key}
}

// node makes credentials as of now.
func (a *authority) node(t testing.TB, id string, now time.Time) *Credentials {
	t.Helper()
	key, err := NewNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := SignNode(a.cert, a.key, a.id, id, csr, now)
	if err != nil {
		t.Fatal(err)
	}
	return &Credentials{ClusterID: a.id, CAs: [][]byte{a.cert}, Cert: cert, Key: key}
}

var secret = []byte("0123456789abcdef0123456789abcdef")

// start opens a mesh on a loopback port; a nil authority makes one that has not
// joined.
func start(t testing.TB, a *authority, id string, with ...func(*Config)) *Mesh {
	t.Helper()
	c := Config{Listen: "127.0.0.1:0", NodeID: id, Secret: secret}
	if a != nil {
		c.Credentials = a.node(t, id, time.Now())
	}
	for _, f := range with {
		f(&c)
	}
	m, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// patience is how long soon waits; a loaded machine needs several seconds.
const patience = 30 * time.Second

// soon waits until done.
func soon(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// within is a context that ends in d, and with the test.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// denies is a set of removed nodes of at most one.
type denies struct{ id atomic.Pointer[string] }

func (d *denies) deny(id string)        { d.id.Store(&id) }
func (d *denies) denied(id string) bool { p := d.id.Load(); return p != nil && *p == id }
func (d *denies) into(c *Config)        { c.Denied = d.denied }

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	io.WriteString(w, PeerID(r.Context())+" ")
	io.Copy(w, r.Body)
})

func echoes(c *Config) { c.Calls = echo }

func TestCall(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a"), start(t, ca, "b", echoes)
	got, err := a.Call(within(t, patience), b.Advertise(), "b", "/x", []byte("hello"))
	if err != nil || string(got) != "a hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	_, err = a.Call(within(t, patience), b.Advertise(), "c", "/x", nil)
	var not *NotSent
	if !errors.Is(err, ErrOtherNode) || !errors.As(err, &not) {
		t.Fatalf("a call for another node: %v", err)
	}
	_, err = b.Call(within(t, patience), a.Advertise(), "a", "/x", nil)
	var status *StatusError
	if !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
		t.Fatalf("a call without a handler: %v", err)
	}
}

func TestAsk(t *testing.T) {
	ca := newAuthority(t, "c1")
	a := start(t, ca, "a", func(c *Config) {
		c.Join = func(_ context.Context, kind string, body []byte, _ string) (any, error) {
			if kind == "bad" {
				return nil, errors.New("no room")
			}
			return map[string]string{kind: string(body)}, nil
		}
	})
	b := start(t, nil, "b")
	got, err := b.Ask(within(t, patience), a.Advertise(), "poll", map[string]int{"n": 1})
	if err != nil || string(got) != `{"poll":"{\"n\":1}"}` {
		t.Fatalf("got %s, %v", got, err)
	}
	_, err = b.Ask(within(t, patience), a.Advertise(), "bad", nil)
	var refused *RemoteError
	if !errors.As(err, &refused) || refused.Text != "no room" {
		t.Fatalf("refused: %v", err)
	}
	if err := b.SetSecret([]byte("another secret of 32 bytes......")); err != nil {
		t.Fatal(err)
	}
	if _, err = b.Ask(within(t, patience), a.Advertise(), "poll", nil); !errors.Is(err, ErrSecret) {
		t.Fatalf("another secret: %v", err)
	}
}
