package nodetest_test

import (
	"bufio"
	"net/http"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// openStream opens a stream on n. ended gets the time at which it was cut.
func openStream(t *testing.T, n *nodetest.Node, key string) (ended chan time.Time) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", n.Proxy()+"/stream", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("open a stream on %s: %v, %v", n.Setup.Name, resp, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	ended = make(chan time.Time, 1)
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := lines.ReadString('\n'); err != nil {
				ended <- time.Now()
				return
			}
		}
	}()
	return ended
}

// Streams end on every node within five seconds after any right that they need was
// taken away.
func TestStreamsEndWithTheirRight(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, kept := c.Key(0, "kept")
	update := func(on int, id string, p client.Patch) {
		c.Until("the change is answered", func() error {
			_, err := c.API(on).UpdateKey(t.Context(), id, p)
			return err
		})
	}
	losses := map[string]func(on int, id string){
		"revoked":  func(on int, id string) { revoke(c, on, id) },
		"scope":    func(on int, id string) { update(on, id, client.Patch{"scopes": []string{"write"}}) },
		"route":    func(on int, id string) { update(on, id, client.Patch{"routes": []string{"/elsewhere"}}) },
		"method":   func(on int, id string) { update(on, id, client.Patch{"routes": []string{"POST /"}}) },
		"disabled": func(on int, id string) { update(on, id, client.Patch{"state": "disabled"}) },
	}
	other := openStream(t, c.Nodes[1], kept)
	on := 0
	for name, lose := range losses {
		id, key := c.Key(0, name)
		var ends []chan time.Time
		for _, n := range c.Nodes {
			ends = append(ends, openStream(t, n, key))
		}
		lose(on, id)
		on = (on + 1) % len(c.Nodes)
		answered := time.Now()
		for i, e := range ends {
			select {
			case at := <-e:
				if at.Sub(answered) > 5*time.Second {
					t.Errorf("%s: the stream on n%d ended %v after the answer", name, i+1, at.Sub(answered))
				}
			case <-time.After(5*time.Second + slack):
				t.Errorf("%s: the stream on n%d goes on", name, i+1)
			}
		}
	}
	select {
	case <-other:
		t.Error("another key's stream was closed too")
	default:
	}
}
