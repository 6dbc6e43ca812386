package observe

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// Config holds the parts of a [Nodes].
type Config struct {
	Local   *local.Local
	Watcher *Watcher
	Logger  *slog.Logger
	// Found gets each finding of this node once it is confirmed, with an id that depends on
	// its cause alone. It must not wait. Nil gets none.
	Found func(insight.Finding)
	// Failing is what this node says of an account's refused credentials; see notify.Alerts. Nil
	// says nothing.
	Failing func(store.AccountID) []byte
	// Others lists the other members, and Ask makes a call to one of them; nil on a lone
	// node.
	Others func() []store.Member
	Ask    func(ctx context.Context, id string, body []byte) ([]byte, error)
}

// Nodes are all nodes of the cluster. Its methods may be called from any goroutine.
type Nodes struct {
	cfg    Config
	absent absent
}

// New returns the nodes.
func New(cfg Config) *Nodes { return &Nodes{cfg: cfg} }

// answerWait bounds the wait for the other nodes. A reading of the most rows that a
// question may take needs some seconds of it.
const answerWait = 10 * time.Second

// ask is a question between nodes, and answer its answer. Members are only ever added.
type ask struct {
	Usage    *local.UsageQuery   `json:"usage,omitzero"`
	Failures *local.FailureQuery `json:"failures,omitzero"`
	Uses     []store.KeyID       `json:"uses,omitzero"`   // last ones, of keys
	Refute   *insight.Finding    `json:"refute,omitzero"` // was its subject known before?
	Findings *insight.Query      `json:"findings,omitzero"`
	Profiles []store.KeyID       `json:"profiles,omitzero"` // of keys
	Failing  store.AccountID     `json:"failing,omitzero"`  // credentials refused lately
}

type answer struct {
	Usage    []local.UsageRow     `json:"usage,omitzero"`
	TooWide  bool                 `json:"too_wide,omitzero"` // see [local.ErrTooWide]
	Failures *local.FailureCounts `json:"failures,omitzero"`
	Uses     []use                `json:"uses,omitzero"`
	Refuted  bool                 `json:"refuted,omitzero"`
	Findings []insight.Finding    `json:"findings,omitzero"`
	Profiles []profile            `json:"profiles,omitzero"`
	Failing  []byte               `json:"failing,omitzero"`
}

// Serve answers the question of another node.
func (n *Nodes) Serve(_ context.Context, body []byte) ([]byte, error) {
	var in ask
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	out, err := n.own(&in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// own is this node's answer.
func (n *Nodes) own(in *ask) (out *answer, err error) {
	out = new(answer)
	switch {
	case in.Usage != nil:
		out.Usage, err = n.cfg.Local.Usage(*in.Usage)
	case in.Failures != nil:
		var counts local.FailureCounts
		counts, err = n.cfg.Local.Failures(*in.Failures)
		out.Failures = &counts
	case in.Uses != nil:
		out.Uses = n.ownUses(in.Uses)
	case in.Refute != nil:
		out.Refuted = n.cfg.Watcher.refutes(in.Refute)
	case in.Findings != nil:
		out.Findings, err = n.ownFindings(in.Findings)
	case in.Profiles != nil:
		out.Profiles = n.ownProfiles(in.Profiles)
	case in.Failing != "":
		if n.cfg.Failing != nil {
			out.Failing = n.cfg.Failing(in.Failing)
		}
	default:
		err = errors.New("the question is none that this version knows")
	}
	if errors.Is(err, local.ErrTooWide) {
		return &answer{TooWide: true}, nil
	}
	return out, err
}

// question says how a question is asked.
type question struct {
	wait  time.Duration // for the other nodes
	brief bool          // ask no node that did not answer lately, and do not log it
}

// ask puts a question to every node. It calls use with each answer, one at a time, and
// returns the nodes that have none.
func (n *Nodes) ask(ctx context.Context, in *ask, how question, use func(*answer) error) ([]chain.Missing, error) {
	missing := []chain.Missing{}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, how.wait)
	defer cancel()
	var mu sync.Mutex // guards missing and fault, and is held while an answer is used
	var fault error
	take := func(out *answer) {
		if out.TooWide {
			fault = cmp.Or(fault, local.ErrTooWide)
			return
		}
		fault = cmp.Or(fault, use(out))
	}
	var peers sync.WaitGroup
	for _, m := range n.others() {
		if how.brief && n.absent.has(m.ID, time.Now()) {
			mu.Lock()
			missing = append(missing, chain.Missing{Node: m.Name, Reason: noAnswer})
			mu.Unlock()
			continue
		}
		peers.Go(func() {
			out, err := n.peer(ctx, m.ID, body)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				n.absent.mark(m.ID, time.Now())
				if !how.brief {
					n.cfg.Logger.Warn("a node is missing in an answer about requests", "node", m.Name, "error", err)
				}
				missing = append(missing, chain.Missing{Node: m.Name, Reason: noAnswer})
				return
			}
			take(out)
		})
	}
	own, err := n.own(in)
	mu.Lock()
	if err == nil {
		take(own)
	}
	mu.Unlock()
	peers.Wait()
	slices.SortFunc(missing, func(a, b chain.Missing) int { return cmp.Compare(a.Node, b.Node) })
	return missing, cmp.Or(err, fault)
}

// noAnswer is the reason for which a node is missing.
const noAnswer = "it does not answer, or runs an older version"

func (n *Nodes) others() []store.Member {
	if n.cfg.Others == nil {
		return nil
	}
	return n.cfg.Others()
}

func (n *Nodes) peer(ctx context.Context, id string, body []byte) (*answer, error) {
	raw, err := n.cfg.Ask(ctx, id, body)
	if err != nil {
		return nil, err
	}
	out := new(answer)
	return out, json.Unmarshal(raw, out)
}
