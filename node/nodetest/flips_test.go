package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

// A bit of any file of one node flips, or the file is cut, while the node is stopped or while
// it runs. The node comes back by itself, or it refuses to start and names the file; then
// its directory is emptied, as its error says. Whatever happens, no node admits a key that
// was revoked or refuses one that is good, also those that get their state from the node
// that was damaged. PERFGATE_TORTURE=1 makes 500 trials, another number that many;
// PERFGATE_SEED repeats the choices of a run.
func TestFlips(t *testing.T) {
	t.Parallel()
	trials, chance := campaign(t, 5, 500)
	r := &rotting{t: t, c: nodetest.Start(t, 3), chance: chance, ends: map[string]int{}, classes: map[string]int{}}
	for _, n := range r.c.Nodes {
		n.Setup.Rots = true
		n.Setup.Tune = func(c *raft.Config) {
			c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 50*time.Millisecond, 20, 20
		}
	}
	for i := range r.c.Nodes {
		r.c.Restart(i)
		r.c.WaitHealthy()
	}
	for i := range trials {
		r.trial(i)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d trials: %v; classes of files: %v", trials, r.ends, r.classes)
}

// rotting is a cluster whose files rot.
type rotting struct {
	t             *testing.T
	c             *nodetest.Cluster
	chance        *rand.Rand
	good, revoked []string       // keys
	ends          map[string]int // how the trials ended
	classes       map[string]int // of the files that were harmed
}

// class is the kind of a file of a data directory, with the part that it belongs to.
func class(file string) string {
	part, _, inside := strings.Cut(file, string(filepath.Separator))
	if !inside {
		return part
	}
	kind, _, _ := strings.Cut(strings.TrimLeft(filepath.Base(file), "0123456789."), "-")
	return part + "/" + kind
}

func (r *rotting) trial(number int) {
	r.write(number)
	bad := r.chance.IntN(3)
	n := r.c.Nodes[bad]
	runs := r.chance.IntN(2) == 0
	if !runs {
		if r.chance.IntN(2) == 0 {
			r.c.Stop(bad)
		} else {
			r.c.Kill(bad)
		}
	}
	file, what := r.harm(n.Dir)
	names := r.namesOf(n.Dir, file)
	r.classes[class(file)]++
	what = fmt.Sprintf("trial %d, n%d, running %v: %s", number, bad+1, runs, what)
	r.t.Log(what)
	if runs {
		r.write(number)
		if n.Failed() != nil || r.chance.IntN(2) == 0 {
			r.c.Kill(bad)
		} else {
			r.c.Stop(bad)
		}
	}
	r.ends[r.back(n, names, what)]++
	r.settle(what)
	// Another node gets its state, from the one that was damaged if that leads.
	r.c.Until("n"+strconv.Itoa(bad+1)+" leads", func() error {
		if r.c.Leader() == bad {
			return nil
		}
		_, err := r.c.API(bad).TransferLeadership(context.Background(), n.Setup.Name)
		return errors.Join(errors.New("another one does"), err)
	})
	joins := (bad + 1 + r.chance.IntN(2)) % 3
	r.c.Wipe(joins)
	if err := r.join(joins, what); err != nil {
		r.t.Errorf("%s: n%d joins: %v", what, joins+1, err)
		return
	}
	r.settle(what)
	r.c.Kill(bad) // a failover
	r.write(number)
	if err := n.Try(); err != nil {
		r.t.Errorf("%s: after another restart: %v", what, err)
		return
	}
	r.settle(what)
}

// join starts a node that has no data. One that ends meanwhile, because it has found its damage
// by then, is started again, as by a supervisor.
func (r *rotting) join(i int, what string) error {
	joined := make(chan error, 1)
	go func() { joined <- r.c.Nodes[i].Try() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-joined:
			return err
		case <-tick.C:
		}
		for j, n := range r.c.Nodes {
			if j != i && n.Running() && n.Failed() != nil {
				r.t.Logf("%s: n%d ended: %v", what, j+1, n.Failed())
				n.Kill()
				if err := n.Try(); err != nil {
					r.t.Logf("%s: n%d is started again: %v", what, j+1, err)
				}
			}
		}
	}
}

// back starts the node whose file was harmed, as a supervisor and an operator do, and tells
// how it came back. names are those of the file.
func (r *rotting) back(n *nodetest.Node, names []string, what string) string {
	const restarts = 3
	var errs []error
	for range restarts {
		err := n.Try()
		if err == nil {
			if len(errs) > 0 {
				return "after a restart"
			}
			return "by itself"
		}
		errs = append(errs, err)
		if n.Running() {
			n.Kill()
			r.t.Errorf("%s: %v", what, err)
			return "not"
		}
	}
	text := errors.Join(errs...).Error()
	if !slices.ContainsFunc(names, func(name string) bool {
		part, _, _ := strings.Cut(name, string(filepath.Separator))
		return strings.Contains(text, part)
	}) {
		r.t.Errorf("%s: it refuses to start and does not name the file: %s", what, text)
	}
	r.t.Logf("%s: refused: %v", what, errs[0])
	n.Wipe()
	if err := n.Try(); err != nil {
		r.t.Errorf("%s: with an empty directory: %v", what, err)
	}
	return "with an empty directory"
}

// namesOf are the names of a file below dir: the state shares its tables with its snapshots.
func (r *rotting) namesOf(dir, file string) []string {
	names := []string{file}
	harmed, err := os.Stat(filepath.Join(dir, file))
	if err != nil {
		return names // removed since
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil { // a running node removes files
			return nil
		}
		if info, err := e.Info(); err == nil && os.SameFile(info, harmed) {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

// any is a client of a node that runs.
func (r *rotting) any() *client.Client {
	var running []*nodetest.Node
	for _, n := range r.c.Nodes {
		if n.Running() && n.Failed() == nil {
			running = append(running, n)
		}
	}
	if len(running) == 0 {
		r.t.Fatal("no node runs")
	}
	return running[rand.IntN(len(running))].API() // not of chance: it is asked again by the clock
}

// write makes keys and revokes some, through any node that answers.
func (r *rotting) write(number int) {
	for i := range 8 {
		var id, key string
		r.c.Until("a key is created", func() error {
			k, err := r.any().CreateKey(context.Background(), newKey(fmt.Sprintf("%d.%d", number, i)))
			if err == nil {
				id, key = k.ID, *k.Secret
			}
			return err
		})
		if i%2 == 0 {
			r.good = append(r.good, key)
			continue
		}
		r.c.Until("the key is revoked", func() error {
			_, err := r.any().RevokeKey(context.Background(), id, "")
			return err
		})
		r.revoked = append(r.revoked, key)
	}
}

// harm flips a bit of a file below dir, or cuts it. All parts of the directory are as likely.
func (r *rotting) harm(dir string) (file, what string) {
	parts := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil { // a running node removes files
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		part, _, _ := strings.Cut(rel, string(filepath.Separator))
		if e.IsDir() && strings.HasPrefix(part, "damaged-") {
			return fs.SkipDir
		}
		if info, err := e.Info(); err == nil && e.Type().IsRegular() && info.Size() > 0 && part != "ballast" {
			parts[part] = append(parts[part], rel)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	names := make([]string, 0, len(parts))
	for part := range parts {
		names = append(names, part)
	}
	slices.Sort(names)
	for range 100 {
		files := parts[names[r.chance.IntN(len(names))]]
		file = files[r.chance.IntN(len(files))]
		path := filepath.Join(dir, file)
		info, err := os.Stat(path)
		if err != nil || info.Size() == 0 {
			continue
		}
		at := r.chance.Int64N(info.Size())
		if r.chance.IntN(4) == 0 {
			if err := os.Truncate(path, at); err != nil {
				r.t.Fatal(err)
			}
			return file, fmt.Sprintf("%s cut from %d to %d bytes", file, info.Size(), at)
		}
		bit := byte(1) << r.chance.IntN(8)
		if err := flipAt(path, at, bit); err == nil {
			return file, fmt.Sprintf("%s, bit %d of byte %d of %d", file, bit, at, info.Size())
		}
	}
	r.t.Fatal("no file stays for long enough to be harmed")
	return "", ""
}

// flipAt changes a byte in place, as a disk does.
func flipAt(path string, at int64, bit byte) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= bit
	_, err = f.WriteAt(b[:], at)
	return err
}

// settle waits until all nodes are well and checks the answers of each.
func (r *rotting) settle(what string) {
	for i, n := range r.c.Nodes {
		if n.Running() && n.Failed() != nil {
			r.t.Logf("%s: n%d ended: %v", what, i+1, n.Failed())
			n.Kill()
		}
		if !n.Running() {
			if err := n.Try(); err != nil {
				r.t.Fatalf("%s: n%d: %v", what, i+1, err)
			}
		}
	}
	r.c.WaitHealthy()
	for i, n := range r.c.Nodes {
		for _, key := range r.revoked[max(0, len(r.revoked)-40):] {
			// A stranger with many bad keys is told so (429); a good key is admitted all the same.
			if a := n.Get(key); a.Status < 400 {
				r.t.Errorf("%s: n%d answers %v to a revoked key", what, i+1, a)
			}
		}
		for _, key := range r.good[max(0, len(r.good)-20):] {
			r.c.Until(fmt.Sprintf("n%d admits a good key, %s", i+1, what), func() error {
				a := n.Get(key) // 503 where a loaded machine has lost a lease again
				if a.Status == 401 {
					r.t.Errorf("%s: n%d answers %v to a good key", what, i+1, a)
				}
				if a.Status == 503 {
					return fmt.Errorf("%v", a)
				}
				return nil
			})
		}
	}
}
