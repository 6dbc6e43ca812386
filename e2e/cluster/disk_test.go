package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// syncs are the system calls that make writes durable.
const syncs = "fsync,fdatasync,sync_file_range"

// strace is the prefix that runs a node under it. It follows from a process of
// its own (-D), so that the node stays this process's child, with its pid.
func strace(inject string) []string {
	return []string{"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + syncs, "-e", "inject=" + syncs + ":" + inject}
}

// attach has strace inject faults into a running process until the returned
// function is called, or the process is gone.
func attach(t testing.TB, pid int, inject string) (detach func()) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace="+syncs, "-e", "inject="+syncs+":"+inject, "-p", strconv.Itoa(pid))
	cmd.Stderr = &said
	if err := harness.Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	detach = func() {
		once.Do(func() {
			cmd.Process.Signal(os.Interrupt)
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				cmd.Process.Kill()
				<-ended
			}
		})
	}
	t.Cleanup(detach)
	status := filepath.Join("/proc", strconv.Itoa(pid), "status")
	harness.Await(t, 10*time.Second, "strace to attach", func() error {
		raw, err := os.ReadFile(status)
		if err != nil {
			return nil // the process has met its end already
		}
		if !bytes.Contains(raw, []byte("TracerPid:\t"+strconv.Itoa(cmd.Process.Pid))) {
			return fmt.Errorf("not traced; strace says %q", said.String())
		}
		return nil
	})
	return detach
}

// A leader with a disk that hangs gives way: writes go on through the others, and
// their clients notice nothing.
func TestHungDisk(t *testing.T) {
	processes(t)
	needs(t, "strace")
	c := start(t, 3, options{})
	keys := c.loaded()
	i := c.leader()
	others := []endpoint{c.nodes[(i+1)%3], c.nodes[(i+2)%3]}
	l := startLoad(loadRate, keys, among(others...))
	defer func() { t.Log(l) }()
	harness.Pause(nil, 2*time.Second) // the nodes fetch the units of the month that they will need
	detach := attach(t, c.procs[i].PID(), "delay_enter=30s")
	from := time.Now()
	survivors := target{nodes: others, operator: c.operator}
	turn := 0
	harness.Await(t, 40*time.Second, "a write to succeed though the leader's disk hangs", func() error {
		turn++
		r, err := survivors.manage(3*time.Second, turn%2, "POST", "/v1/keys", map[string]any{"name": "hung", "type": "live"})
		if err != nil {
			return err
		}
		if r.StatusCode != 201 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	took := time.Since(from)
	t.Logf("the first write succeeded after %v", took.Round(time.Millisecond))
	if took > 25*time.Second {
		t.Errorf("the leader held on to a hung disk for %v", took)
	}
	harness.Pause(nil, time.Second)
	l.end()
	if n := len(l.failed()); n != 0 {
		t.Errorf("%d requests to the other nodes failed", n)
	}
	detach()
	harness.Await(t, readyLimit, "the node whose disk hung to be back", func() error {
		if !c.procs[i].Running() { // to end is a way to give way; a supervisor starts it again
			c.Restart(i)
		}
		return ready(c.procs[i], c.nodes[i].admin)
	})
}

// A node that dies at any fsync, while the cluster forms or later, comes back,
// and the acknowledged writes are there.
func TestKilledAtFsync(t *testing.T) {
	processes(t)
	needs(t, "strace")
	rng, _ := chance(t)
	for range amount(3, 10, 60) {
		at := 1 + rng.IntN(25)
		victim := rng.IntN(3)
		t.Run(fmt.Sprintf("formation, node %d, fsync %d", victim+1, at), func(t *testing.T) {
			c := prepare(t, 3, options{})
			for i, p := range c.procs {
				if i == victim {
					p.Begin(strace(fmt.Sprintf("signal=KILL:when=%d+", at))...)
				} else {
					p.Begin()
				}
			}
			awaitEnd(t, c, victim)
			c.Restart(victim)
			c.awaitReady()
			w := record(c)
			w.some(t, 30)
			w.verify(t)
		})
	}
	c := start(t, 3, options{})
	w := record(c)
	for range amount(3, 20, 300) {
		at, victim := 1+rng.IntN(40), rng.IntN(3)
		attach(t, c.procs[victim].PID(), fmt.Sprintf("signal=KILL:when=%d+", at))
		stop := w.begin(6)
		awaitEnd(t, c, victim)
		stop()
		c.Restart(victim)
		c.awaitReady()
		w.verify(t)
	}
	t.Logf("%d keys acknowledged", w.count())
}

// awaitEnd waits until node i has died of the injected fault. A node that writes
// too little for it is helped along.
func awaitEnd(t testing.TB, c *cluster, i int) {
	t.Helper()
	harness.Await(t, readyLimit, "the node to die at its fsync", func() error {
		if c.procs[i].Running() {
			for j := range c.procs {
				if c.procs[j].Running() { // any write is an fsync on every node
					c.manage(time.Second, j, "POST", "/v1/keys", map[string]any{"name": "nudge", "type": "live"})
					break
				}
			}
			return fmt.Errorf("%s still runs", c.procs[i].Name)
		}
		return nil
	})
}
