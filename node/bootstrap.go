package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/geo"
	"github.com/perfgate/perfgate/node/observe"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// demoLife is the life of a demo key.
const demoLife = 24 * time.Hour

// startup are the writes that a node makes by itself when it starts: the state of a new
// cluster, an operator token that was given, the key of a demo. openState sets the
// fields before anything reads them.
type startup struct {
	config    *config.Config
	log       *slog.Logger
	token     *tokenFile
	replica   *replica.Replica
	store     *store.Store  // the replica's
	fresh     bool          // this process made the state
	bootIndex uint64        // end of the log at the start: entries after it are new in this process
	places    *geo.Database // nil without one
	watcher   *observe.Watcher
}

// system is the actor of the changes that a node makes by itself.
func (s *startup) system() store.Actor {
	return store.Actor{Type: store.ActorSystem, ID: "system", Name: s.config.Node.Name}
}

// begin waits until the node has a state to answer from: its own if it had one,
// otherwise the cluster's.
func (n *Node) begin(ctx context.Context) error {
	if err := n.replica.Coordinator().WaitState(ctx, n.startup.initialize); err != nil {
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
func (s *startup) initialize(ctx context.Context) error {
	given := s.config.OperatorToken()
	if s.store.Initialized() {
		return s.replaceToken(ctx, given)
	}
	token := given
	if token == "" {
		var err error
		if token, err = s.token.written(); err != nil {
			return err
		}
	}
	var pepper store.Hash
	rand.Read(pepper[:])
	_, err := s.replica.Write(ctx, &store.Command{
		At: time.Now().UTC().Truncate(time.Millisecond), Actor: s.system(), Account: store.DefaultAccount,
		Change: &store.Init{
			ClusterID:     ids.New("cl_"),
			Pepper:        pepper,
			OperatorToken: sha256.Sum256([]byte(token)),
			DefaultTier:   s.config.Accounts.DefaultTier,
		},
	})
	if err != nil {
		return fmt.Errorf("initialize the state: %w", err)
	}
	s.log.Info("initialized", "cluster_id", s.store.ClusterID())
	return nil
}

// replaceToken lets PERFGATE_OPERATOR_TOKEN replace all operator tokens, which is
// how an operator gets access again when they are lost.
func (s *startup) replaceToken(ctx context.Context, given string) error {
	hash := store.Hash(sha256.Sum256([]byte(given)))
	if given == "" || slices.Contains(s.store.OperatorTokens(), hash) {
		return nil
	}
	_, err := s.replica.Write(ctx, &store.Command{
		At: time.Now().UTC().Truncate(time.Millisecond), Actor: s.system(), Account: store.DefaultAccount,
		Change: &store.OperatorTokens{Hashes: []store.Hash{hash}},
	})
	if err != nil {
		return fmt.Errorf("replace the operator token: %w", err)
	}
	s.log.Warn("PERFGATE_OPERATOR_TOKEN replaced the operator token; the previous one is no longer accepted")
	return nil
}

// demoName is the name of the keys of demos.
const demoName = "demo"

// endDemoKeys revokes the keys of this node's earlier demos, whose secrets nobody can show
// again: without it, each start would leave one for a day.
func (s *startup) endDemoKeys(ctx context.Context) error {
	now := time.Now()
	old, _, err := s.store.Keys(store.KeyQuery{
		Account: store.DefaultAccount, Type: new(store.Test), State: store.Active, Now: now, Name: demoName, CreatedBy: s.system().ID, Limit: maxDemoKeys,
	})
	if err != nil || len(old) == 0 {
		return err
	}
	change := &store.KeyRevokeBulk{Reason: "a later start made another demo key"}
	for _, k := range old {
		change.IDs = append(change.IDs, k.ID)
	}
	_, err = s.replica.Write(ctx, &store.Command{At: now.UTC().Truncate(time.Millisecond), Actor: s.system(), Account: store.DefaultAccount, Change: change})
	return err
}

// maxDemoKeys bounds the keys that one start ends; there is one, unless earlier versions left more.
const maxDemoKeys = 1000

// demoKey creates a test key that expires by itself.
func (s *startup) demoKey(ctx context.Context) (string, error) {
	key, peppers := apikey.New(apikey.TestPrefix), s.store.Peppers()
	now := time.Now().UTC().Truncate(time.Millisecond)
	_, err := s.replica.Write(ctx, &store.Command{
		At: now, Actor: s.system(), Account: store.DefaultAccount,
		Change: &store.KeyCreate{Key: store.Key{
			ID:   store.KeyID(ids.New("key_")),
			Hash: apikey.Hash(peppers.Current, key), Generation: peppers.Generation,
			Account: store.DefaultAccount,
			Type:    store.Test,
			Name:    demoName,
			Scopes:  store.DefaultScopes.Names(),
			Hint:    apikey.Hint(key),
			Life:    store.Life{CreatedAt: now, CreatedBy: s.system().ID, ExpiresAt: now.Add(demoLife)},
		}},
	})
	if err != nil {
		return "", fmt.Errorf("create the demo key: %w", err)
	}
	return key, nil
}

// demo creates the demo's key and prints a command to paste. It is the only place where
// a key is printed.
func (n *Node) demo(ctx context.Context) error {
	if n.lone() { // in a cluster, every node may run a demo
		if err := n.startup.endDemoKeys(ctx); err != nil {
			return fmt.Errorf("revoke earlier demo keys: %w", err)
		}
	}
	key, err := n.startup.demoKey(ctx)
	if err != nil {
		return err
	}
	trust := ""
	if n.proxyListener.certs != nil {
		trust = "-k "
	}
	token := "the operator token in " + n.startup.token.path
	if n.startup.token.given {
		token = "the token in PERFGATE_OPERATOR_TOKEN"
	}
	fmt.Fprintf(n.options.Out, "\nNo route is configured, so a built-in echo service answers. Try it:\n\n"+
		"  curl %s%s/hello -H \"Authorization: Bearer %s\"\n\n"+
		"The key expires in 24 hours. Put your own service behind perfgate with --upstream URL.\n\n"+
		"Dashboard: %s/ (sign in with %s)\n\n",
		trust, n.proxyListener.origin(), key, n.adminListener.origin(), token)
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
