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

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// maxTokenFile bounds the file of the operator token, in bytes.
const maxTokenFile = 4 << 10

// demoLife is the life of a demo key.
const demoLife = 24 * time.Hour

// system is the actor of the changes that a node makes by itself.
func (n *Node) system() store.Actor {
	return store.Actor{Type: store.ActorSystem, ID: "system", Name: n.config.Node.Name}
}

// begin waits until the node has a state to answer from: its own if it had one,
// otherwise the cluster's.
func (n *Node) begin(ctx context.Context) error {
	if err := n.replica.Coordinator().WaitState(ctx, n.initialize); err != nil {
		return err
	}
	n.adminListener.slot.Waiting("")
	return nil
}

// readyPoll is the interval at which whenReady checks.
const readyPoll = 10 * time.Millisecond

// whenReady calls do once the node serves. It returns nil if ctx ends before.
func (n *Node) whenReady(ctx context.Context, do func(context.Context) error) error {
	poll := time.NewTicker(readyPoll)
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
// file that the next start uses, never a cluster without an operator.
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
	_, err := n.replica.Write(ctx, &store.Command{
		At: time.Now().UTC(), Actor: n.system(), Account: store.DefaultAccount,
		Change: &store.Init{
			ClusterID:     ids.New("cl_"),
			Pepper:        pepper,
			OperatorToken: sha256.Sum256([]byte(token)),
			DefaultTier:   n.config.Accounts.DefaultTier,
		},
	})
	if err != nil {
		return fmt.Errorf("initialize the state: %w", err)
	}
	n.log.Info("initialized", "cluster_id", n.store.ClusterID())
	return nil
}

// replaceToken lets PERFGATE_OPERATOR_TOKEN replace all operator tokens, which is
// how an operator gets access again when they are lost.
func (n *Node) replaceToken(ctx context.Context, given string) error {
	hash := store.Hash(sha256.Sum256([]byte(given)))
	if given == "" || slices.Contains(n.store.OperatorTokens(), hash) {
		return nil
	}
	_, err := n.replica.Write(ctx, &store.Command{
		At: time.Now().UTC(), Actor: n.system(), Account: store.DefaultAccount,
		Change: &store.OperatorTokens{Hashes: []store.Hash{hash}},
	})
	if err != nil {
		return fmt.Errorf("replace the operator token: %w", err)
	}
	n.log.Warn("PERFGATE_OPERATOR_TOKEN replaced the operator token; the previous one is no longer accepted")
	return nil
}

// writtenToken returns the token in the data directory, created if there is none.
func (n *Node) writtenToken() (string, error) {
	path := filepath.Join(n.config.Node.DataDir, datadir.OperatorTokenFile)
	raw, err := datadir.ReadFile(path, maxTokenFile)
	if err == nil && strings.TrimSpace(string(raw)) != "" {
		return foundToken(path, strings.TrimSpace(string(raw)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the operator token: %w", err)
	}
	token := rest.NewOperatorToken()
	if err := datadir.WriteFile(path, []byte(token+"\n")); err != nil {
		return "", fmt.Errorf("write the operator token: %w", err)
	}
	n.log.Info("operator token written", "file", path)
	return token, nil
}

// heldToken is the operator token in the data directory, "" unless its hash is one of
// hashes.
func (n *Node) heldToken(hashes []store.Hash) string {
	raw, err := datadir.ReadFile(filepath.Join(n.config.Node.DataDir, datadir.OperatorTokenFile), maxTokenFile)
	token := strings.TrimSpace(string(raw))
	if err != nil || !slices.Contains(hashes, store.Hash(sha256.Sum256([]byte(token)))) {
		return ""
	}
	return token
}

// keepToken writes the operator token of a cluster that this node founds with others:
// its operator need not know which of them was the first.
func (n *Node) keepToken(token string) error {
	if n.config.OperatorToken() != "" {
		return nil
	}
	path := filepath.Join(n.config.Node.DataDir, datadir.OperatorTokenFile)
	if err := datadir.WriteFile(path, []byte(token+"\n")); err != nil {
		return fmt.Errorf("write the operator token: %w", err)
	}
	n.log.Info("operator token written", "file", path)
	return nil
}

// foundToken checks a token that was in the data directory: it gets all rights, so it
// must have the form of a node's token, in a file that only the node's user can
// read and write.
func foundToken(path, token string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the operator token: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s exists before the first start and is open to others or a link; remove it, or make it a file of mode 0600", path)
	case !strings.HasPrefix(token, rest.OperatorPrefix) || len(token) != len(rest.NewOperatorToken()):
		return "", fmt.Errorf("%s exists before the first start and holds no operator token of perfgate; remove it", path)
	}
	return token, nil
}

// demo creates a test key that expires by itself and prints a command to paste. It
// is the only place where a key is printed.
func (n *Node) demo(ctx context.Context) error {
	key := apikey.New(apikey.TestPrefix)
	now := time.Now().UTC()
	_, err := n.replica.Write(ctx, &store.Command{
		At: now, Actor: n.system(), Account: store.DefaultAccount,
		Change: &store.KeyCreate{Key: store.Key{
			ID:      store.KeyID(ids.New("key_")),
			Hash:    apikey.Hash(n.store.Pepper(), key),
			Account: store.DefaultAccount,
			Type:    store.Test,
			Name:    "demo",
			Scopes:  store.DefaultScopes.Names(),
			Hint:    apikey.Hint(key),
			Life:    store.Life{CreatedAt: now, CreatedBy: n.system().ID, ExpiresAt: now.Add(demoLife)},
		}},
	})
	if err != nil {
		return fmt.Errorf("create the demo key: %w", err)
	}
	scheme, trust := "http", ""
	if n.proxyListener.certs != nil {
		scheme, trust = "https", "-k "
	}
	fmt.Fprintf(n.options.Out, "\nNo route is configured, so a built-in echo service answers. Try it:\n\n"+
		"  curl %s%s://%s/hello -H \"Authorization: Bearer %s\"\n\n"+
		"The key expires in 24 hours. Put your own service behind perfgate with --upstream URL.\n\n",
		trust, scheme, reachable(n.proxyListener.server.Addr().String()), key)
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
