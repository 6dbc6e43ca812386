package nodetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// eraseAt is the most steps after which a node is killed, before one erasure has shown how
// many it takes.
const eraseAt = 400

// campaigner erases accounts on three nodes, of which some are killed meanwhile.
type campaigner struct {
	t      *testing.T
	c      *nodetest.Cluster
	chance *rand.Rand
	trials int
	disks  []*mortal
	most   int64           // steps of an erasure
	marks  []string        // texts that were erased
	raw    map[string]bool // copies of encrypted files with marks, from before
	keep   string          // their folder
	at     map[string]int  // the steps of erasures at which nodes were killed, by state
}

// Data of an account is erased on three nodes while one of them, or all, is killed at any
// step of the disk after the request. Every node starts again, the erasure ends, and then no
// file of any node holds what was erased: not the state, the log, a snapshot or the node's own
// data. The encrypted files of before, which free space of a disk may still hold, have no key
// any more, and a restore of a backup from before erases again. PERFGATE_TORTURE=1 erases 200
// times, another number that often; PERFGATE_SEED repeats the choices of a run.
func TestErasuresAndKills(t *testing.T) {
	if os.Getenv("PERFGATE_TORTURE") == "" {
		t.Skip("a campaign: set PERFGATE_TORTURE to run it")
	}
	t.Parallel()
	trials, chance := campaign(t, 1, 200)
	x := &campaigner{t: t, trials: trials, chance: chance, disks: make([]*mortal, 3), most: eraseAt, raw: map[string]bool{}, keep: t.TempDir(), at: map[string]int{}}
	var net atomic.Pointer[nodetest.Cluster]
	backups := t.TempDir()
	x.c = nodetest.Start(t, 3, func(i int, s *nodetest.Setup) {
		x.disks[i] = &mortal{
			FS: vfs.Default, t: t, dir: func() string { return net.Load().Nodes[i].Dir }, killed: func() { net.Load().Isolate(i) },
		}
		s.Files = x.disks[i]
		s.File = fmt.Sprintf("[backup]\ndir = %q\n", filepath.Join(backups, s.Name))
	})
	net.Store(x.c)
	backup := ""
	for i := range trials {
		backup = x.trial(i)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d erasures of about %d steps; nodes were killed in the states %v", trials, x.most, x.at)
	x.oldFilesAreClosed()
	x.waits()
	x.restores(backup, backups)
}

// trial fills an account, erases it while nodes are killed, and looks for what is left. It
// returns a backup from before.
func (x *campaigner) trial(number int) (backup string) {
	t := x.t
	mark := fmt.Sprintf("Er%016x", x.chance.Uint64())
	account := x.fill(number, mark)
	backup = filepath.Join(x.keep, fmt.Sprintf("%d.backup", number))
	var file bytes.Buffer
	x.c.Until("a backup is taken", func() error { file.Reset(); return x.c.API(0).Backup(t.Context(), &file) })
	if err := os.WriteFile(backup, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, n := range x.c.Nodes {
		for _, path := range holding(x.t, n.Dir, mark) {
			held++
			x.copy(path)
		}
	}
	if held < 3 {
		t.Fatalf("the mark is in %d files before: the test proves nothing", held)
	}
	victims := x.chance.Perm(3)[:1]
	if x.chance.IntN(4) == 0 {
		victims = []int{0, 1, 2}
	}
	what := fmt.Sprintf("erasure %d", number)
	for _, i := range victims {
		at := 1 + x.chance.Int64N(x.most)
		if number == 0 && x.trials > 1 {
			at = math.MaxInt64 // the first one of many shows how many steps there are
		}
		what += fmt.Sprintf(", n%d killed at step %d", i+1, at)
		x.disks[i].arm(at)
	}
	t.Log(what)
	id := x.erase(account, number%2 == 1, victims, what)
	x.c.Until("n1, n2 and n3 are well after "+what, func() error { x.revive(what); return nil })
	x.c.WaitHealthy()
	x.done(id, what)
	x.marks = append(x.marks, mark)
	for _, n := range x.c.Nodes {
		if found := holding(x.t, n.Dir, mark); len(found) > 0 {
			t.Errorf("%s: %s holds erased data in %q", what, n.Setup.Name, found)
		}
	}
	return backup
}

// fill makes an account with data that names mark, also in snapshots, and returns its id.
func (x *campaigner) fill(number int, mark string) (account string) {
	t := x.t
	x.c.Until("an account is created", func() error {
		a, err := x.c.API(0).Accounts().Create(t.Context(), client.NewAccount{Name: fmt.Sprint("erased ", number), Tier: "pro"})
		if err == nil {
			account = a.ID
		}
		return err
	})
	for i, n := range x.c.Nodes {
		api := n.API()
		api.Account, api.Agent = account, mark
		var key string
		x.c.Until("a key of the account is created", func() error {
			k, err := api.CreateKey(t.Context(), newKey("k"))
			if err == nil {
				key = *k.Secret
			}
			return err
		})
		x.c.Until("the key is admitted", func() error {
			if a := n.Get(key); a.Status != 200 {
				return fmt.Errorf("n%d answers %v", i+1, a)
			}
			return nil
		})
		if i == number%3 {
			for range 5 { // requests to the management API leave the agent in the node's own data
				if _, err := api.GetAccount(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return account
}

// erase schedules the erasure for now, and returns when it is done or the victims are dead. A
// request that was not answered is repeated, unless it took effect.
func (x *campaigner) erase(account string, everything bool, victims []int, what string) (id string) {
	erasures := func() client.Erasures {
		api := x.any(what).API()
		api.Account = account
		return client.Erasures{Client: api}
	}
	x.c.Until("the erasure is requested, "+what, func() error {
		list, err := erasures().List(context.Background(), client.Page{})
		if err == nil && len(list.Data) > 0 {
			id = list.Data[0].ID
			return nil
		}
		e, no := erasures().Create(context.Background(), client.NewErasure{Confirm: account, Everything: everything, Now: true})
		if no == nil {
			id = e.ID
		}
		return no
	})
	dead := map[int]bool{}
	x.c.Until("the erasure is done or nodes are killed, "+what, func() error {
		for _, i := range victims {
			if x.disks[i].ended.Load() && !dead[i] {
				dead[i] = true
				x.at[x.state(id)]++
				x.end(i)
			}
		}
		// One that is left alone gets no further, and is killed as it is.
		if state := x.state(id); len(dead) < len(victims) && len(dead) < 2 && state != "done" {
			return fmt.Errorf("it is %q, and %d of %d nodes are killed", state, len(dead), len(victims))
		}
		return nil
	})
	for _, i := range victims {
		switch {
		case dead[i]:
		case x.disks[i].ended.Load(): // meanwhile
			x.end(i)
		default:
			state := x.state(id)
			if state == "done" && x.disks[i].last.Load() > 0 { // it took fewer steps
				x.most = max(10, x.disks[i].steps.Load())
			}
			x.at[state]++
			x.disks[i].arm(0)
			x.c.Kill(i)
		}
	}
	x.c.Heal()
	return id
}

// end ends a node that was killed: what it did after that moment is gone.
func (x *campaigner) end(i int) {
	x.c.Kill(i)
	x.disks[i].arm(0)
	if err := x.disks[i].replace(); err != nil {
		x.t.Fatal(err)
	}
}

// any is a node that serves. Those that were killed are started again if no majority is left.
func (x *campaigner) any(what string) *nodetest.Node {
	var serve []*nodetest.Node
	for i, n := range x.c.Nodes {
		if n.Running() && !x.disks[i].ended.Load() {
			serve = append(serve, n)
		}
	}
	if len(serve) > 1 {
		return serve[0]
	}
	for i, d := range x.disks {
		if d.ended.Load() {
			x.end(i)
		}
	}
	x.c.Heal()
	x.revive(what)
	return x.c.Nodes[0]
}

// state is the state of an erasure, as one node knows it; "" if none tells.
func (x *campaigner) state(id string) string {
	for i, n := range x.c.Nodes {
		if !n.Running() || x.disks[i].ended.Load() {
			continue
		}
		if e, err := (client.Erasures{Client: n.API()}).Get(context.Background(), id); err == nil {
			return e.State
		}
	}
	return ""
}

// revive starts the nodes that do not run.
func (x *campaigner) revive(what string) {
	x.t.Helper()
	for i, n := range x.c.Nodes {
		if n.Running() && n.Failed() != nil {
			n.Kill()
		}
		if n.Running() {
			continue
		}
		n.Start()
		x.c.Until(fmt.Sprintf("n%d has started after %s", i+1, what), func() error {
			if err := n.Failed(); err != nil {
				x.t.Fatalf("%s: n%d does not start: %v", what, i+1, err)
			}
			return nil
		})
	}
}

// done waits until all nodes have removed the data of an erasure.
func (x *campaigner) done(id, what string) {
	x.t.Helper()
	for _, n := range x.c.Nodes {
		x.c.Until(n.Setup.Name+" knows that the erasure is done, "+what, func() error {
			e, err := (client.Erasures{Client: n.API()}).Get(context.Background(), id)
			if err == nil && (e.State != "done" || e.Receipt == nil) {
				err = fmt.Errorf("it is %s: %+v", e.State, e.Nodes)
			}
			return err
		})
	}
}

// copy keeps an encrypted file as it is on the disk.
func (x *campaigner) copy(path string) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	node := filepath.Base(filepath.Dir(path[:strings.LastIndex(path, "/data/")+1]))
	name := filepath.Join(x.keep, fmt.Sprintf("%s-%d-%s", node, len(x.raw), filepath.Base(path)))
	if err == nil {
		err = os.WriteFile(name, raw, 0o600)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	x.raw[name] = true
}

// oldFilesAreClosed starts all nodes again, which ends the data keys of files that were open,
// and tries to read the copies of before with the keys of every node.
func (x *campaigner) oldFilesAreClosed() {
	x.t.Helper()
	for _, n := range x.c.Nodes {
		n.Kill()
	}
	x.revive("the last erasure")
	x.c.WaitHealthy()
	for _, n := range x.c.Nodes {
		x.c.Until(n.Setup.Name+" has one data key", func() error {
			k, err := n.API().Vault().Read(context.Background())
			if err == nil && len(k.DataKeys) != 1 {
				err = fmt.Errorf("%+v", k.DataKeys)
			}
			return err
		})
		files := opened(x.t, n.Dir)
		for name := range x.raw {
			f, err := files.Open(name)
			if err != nil {
				continue
			}
			raw, _ := io.ReadAll(f)
			f.Close()
			for _, mark := range x.marks {
				if bytes.Contains(raw, []byte(mark)) {
					x.t.Errorf("%s opens the file of before %s", n.Setup.Name, name)
				}
			}
		}
	}
}
