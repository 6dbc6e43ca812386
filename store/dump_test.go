package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
)

// A backup has no key with which a stranger could become a member of the cluster, or read
// its gossip. It has all the rest, the authority's certificate too.
func TestDumpWithoutKeys(t *testing.T) {
	h := populated(t, 3)
	ca, key, gossip := []byte("the certificate"), []byte("a private key of 32 octets......"), bytes.Repeat([]byte("g"), gossipKey)
	h.must(&Command{Change: &ClusterOpen{CA: ca, CAKey: key, Gossip: gossip}})
	d, err := h.Dump()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(d)
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	got, want := rowsOfStream(t, raw), rowsOf(t, h.Store)
	for _, secret := range [][]byte{key, gossip} {
		text := base64.StdEncoding.EncodeToString(secret) // in the JSON of the settings
		if strings.Contains(got, text) || !strings.Contains(want, text) {
			t.Errorf("the dump has the secret %s: %v; the state has it: %v", text, strings.Contains(got, text), strings.Contains(want, text))
		}
	}
	to := begun(t)
	if err := to.restore(bytes.NewReader(raw), 1<<20); err != nil {
		t.Fatal(err)
	}
	if trust := to.Trust(); !bytes.Equal(trust.CA, ca) || trust.CAKey != nil || trust.Gossip != nil {
		t.Errorf("restored trust %+v", trust)
	}
	lines := func(rows string) (n int) { return strings.Count(rows, "\n") }
	if lines(got) != lines(want) {
		t.Errorf("%d rows of %d", lines(got), lines(want))
	}
}
