package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/store"
)

// operatorTokenFile holds the operator token, in the data directory, mode 0600.
const operatorTokenFile = "operator.token"

// maxTokenFile bounds what is read of it, in bytes.
const maxTokenFile = 4 << 10

// demoLife is how long a demo key is accepted.
const demoLife = 24 * time.Hour

// system is the actor of what a node does on its own account.
func (n *Node) system() store.Actor {
	return store.Actor{Type: store.ActorSystem, ID: "system", Name: n.config.Node.Name}
}

// begin waits until the node has a state that it can answer from: its own where
// it had one, else the cluster's. A node of a cluster that has one does not wait
// for a leader: until it holds a lease it says so by itself.
func (n *Node) begin(ctx context.Context) error {
	if n.replica.cluster == nil {
		if err := n.replica.WaitReady(ctx); err != nil {
			return err
		}
		return n.initialize(ctx)
	}
	for !n.store.Initialized() {
		next := n.replica.applied.after()
		if n.replica.leads.isOpen() {
			if err := n.initialize(ctx); err != nil {
				return err
			}
			continue
		}
		timer := time.NewTimer(beginPoll)
		select {
		case <-next:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for the cluster's state: %w", ctx.Err())
		}
		timer.Stop()
	}
	n.adminHandler.why.Store(nil)
	return nil
}

// beginPoll is how often a node without a state looks whether it leads.
const beginPoll = 20 * time.Millisecond

// whenReady calls do once the node serves.
func (n *Node) whenReady(ctx context.Context, do func(context.Context) error) error {
	poll := time.NewTicker(leaderPoll)
	defer poll.Stop()
	for n.Ready() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
	}
	return do(ctx)
}

// initialize gives a new cluster its id, its pepper, the default account and an
// operator token. The token's file is written first: a crash in between leaves a
// file that the next start takes over, never a cluster that nobody can manage.
func (n *Node) initialize(ctx context.Context) error {
	given := n.config.OperatorToken()
	if n.store.Initialized() {
		return n.replaceToken(ctx, given)
	}
	token := given
	if token == "" {
		var err error
		if token, err = n.writtenToken(); err != nil {
			return err
		}
	}
	var pepper store.Hash
	rand.Read(pepper[:])
	r, err := n.replica.Propose(ctx, &store.Command{
		At: time.Now().UTC(), Actor: n.system(), Account: store.DefaultAccount,
		Init: &store.Init{
			ClusterID:     apikey.NewID("cl_"),
			Pepper:        pepper,
			OperatorToken: sha256.Sum256([]byte(token)),
			DefaultTier:   n.config.Accounts.DefaultTier,
		},
	})
	if err = refusal(r, err); err != nil {
		return fmt.Errorf("initialize the state: %w", err)
	}
	n.log.Info("initialized", "cluster_id", n.store.ClusterID())
	return nil
}

// replaceToken lets PERFGATE_OPERATOR_TOKEN replace all operator tokens, which is
// the way back in when they are lost.
func (n *Node) replaceToken(ctx context.Context, given string) error {
	hash := store.Hash(sha256.Sum256([]byte(given)))
	if given == "" || slices.Contains(n.store.OperatorTokens(), hash) {
		return nil
	}
	r, err := n.replica.Propose(ctx, &store.Command{
		At: time.Now().UTC(), Actor: n.system(), Account: store.DefaultAccount,
		OperatorTokens: &store.OperatorTokens{Hashes: []store.Hash{hash}},
	})
	if err = refusal(r, err); err != nil {
		return fmt.Errorf("replace the operator token: %w", err)
	}
	n.log.Warn("PERFGATE_OPERATOR_TOKEN replaced the operator token; the former one is refused from now on")
	return nil
}

// writtenToken returns the token in the data directory, made if there is none.
func (n *Node) writtenToken() (string, error) {
	path := filepath.Join(n.config.Node.DataDir, operatorTokenFile)
	raw, err := readSmall(path, maxTokenFile)
	if err == nil && strings.TrimSpace(string(raw)) != "" {
		return takenOver(path, strings.TrimSpace(string(raw)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the operator token: %w", err)
	}
	token := httpapi.NewOperatorToken()
	if err := WriteFile(path, []byte(token+"\n")); err != nil {
		return "", fmt.Errorf("write the operator token: %w", err)
	}
	n.log.Info("operator token written", "file", path)
	return token, nil
}

// takenOver checks a token that was found: it has all rights from now on, so it
// must be what a node writes, where only the node's user could read and write it.
func takenOver(path, token string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the operator token: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s was found before the first start and is open to others or a link; remove it, or make it a file of mode 0600", path)
	case !strings.HasPrefix(token, httpapi.OperatorPrefix) || len(token) != len(httpapi.NewOperatorToken()):
		return "", fmt.Errorf("%s was found before the first start and holds no operator token of perfgate's; remove it", path)
	}
	return token, nil
}

// demo makes a test key that ends by itself and prints a line to paste. It is
// the one place where a key is printed.
func (n *Node) demo(ctx context.Context) error {
	key := apikey.New(apikey.TestPrefix)
	now := time.Now().UTC()
	r, err := n.replica.Propose(ctx, &store.Command{
		At: now, Actor: n.system(), Account: store.DefaultAccount,
		KeyCreate: &store.KeyCreate{Key: store.Key{
			ID:        store.KeyID(apikey.NewID("key_")),
			Hash:      apikey.Hash(n.store.Pepper(), key),
			Account:   store.DefaultAccount,
			Type:      store.Test,
			Name:      "demo",
			Scopes:    []string{"read", "write"},
			Hint:      apikey.Hint(key),
			CreatedAt: now,
			CreatedBy: n.system().ID,
			ExpiresAt: now.Add(demoLife),
		}},
	})
	if err = refusal(r, err); err != nil {
		return fmt.Errorf("make the demo key: %w", err)
	}
	scheme, trust := "http", ""
	if n.proxyCerts != nil {
		scheme, trust = "https", "-k "
	}
	fmt.Fprintf(n.out, "\nNo route is configured, so a built-in echo service answers. Try it:\n\n"+
		"  curl %s%s://%s/hello -H \"Authorization: Bearer %s\"\n\n"+
		"The key ends in 24 hours. Put a service of yours behind perfgate with --upstream URL.\n\n",
		trust, scheme, reachable(n.proxyServer.Addr().String()), key)
	return nil
}

// reachable turns a bound address into one that a client on this machine can
// dial: a wildcard is no destination.
func reachable(addr string) string {
	for _, wildcard := range []string{"[::]:", "0.0.0.0:"} {
		if port, ok := strings.CutPrefix(addr, wildcard); ok {
			return "127.0.0.1:" + port
		}
	}
	return addr
}

// refusal folds apply's "no" into the error.
func refusal(r httpapi.Receipt, err error) error {
	if err == nil && r.Refusal != nil {
		return r.Refusal
	}
	return err
}
