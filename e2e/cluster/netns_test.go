package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// networks counts those of this process.
var networks atomic.Int64

// network is a bridge in a namespace of its own, with one namespace for each
// node and one link to this process.
type network struct {
	t      testing.TB
	prefix string // of every name: pgc, pid, letter
	subnet string // 10.201.x.
	nodes  int
	cut    map[[2]int]bool // packets from the first to the second are dropped
}

var spaceName = regexp.MustCompile(`^pgc(\d+)[a-z]-`)

// newNetwork makes an empty network, after removing the leftovers of dead runs.
func newNetwork(t testing.TB) *network {
	t.Helper()
	needs(t, "ip", "nft")
	sweep(t)
	n := &network{t: t, cut: map[[2]int]bool{}}
	number := networks.Add(1)
	n.prefix = fmt.Sprintf("pgc%d%c", os.Getpid(), 'a'+rune(number%26))
	n.subnet = freeSubnet(t)
	t.Cleanup(n.remove)
	n.ip("netns", "add", n.prefix+"-sw")
	n.ip("-n", n.prefix+"-sw", "link", "add", "br0", "type", "bridge")
	n.ip("-n", n.prefix+"-sw", "link", "set", "br0", "up")
	n.ip("link", "add", n.prefix, "type", "veth", "peer", "name", "out", "netns", n.prefix+"-sw")
	n.ip("-n", n.prefix+"-sw", "link", "set", "out", "master", "br0", "up")
	n.ip("addr", "add", n.subnet+"1/24", "dev", n.prefix)
	n.ip("link", "set", n.prefix, "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if err := command("ip", args...); err != nil {
		n.t.Fatal(err)
	}
}

// freeSubnet finds a part of 10.201.0.0/16 that this machine does not use.
func freeSubnet(t testing.TB) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 250 {
		subnet := fmt.Sprintf("10.201.%d.", (os.Getpid()+i)%250+1)
		if !slices.ContainsFunc(addrs, func(a net.Addr) bool { return strings.HasPrefix(a.String(), subnet) }) {
			return subnet
		}
	}
	t.Fatal("no free subnet in 10.201.0.0/16")
	return ""
}

// outside is the address of this process in the network.
func (n *network) outside() string { return n.subnet + "1" }

func (n *network) host(i int) string  { return fmt.Sprint(n.subnet, 11+i) }
func (n *network) space(i int) string { return fmt.Sprintf("%s-n%d", n.prefix, i+1) }

// add makes one more node's namespace and returns its address.
func (n *network) add() string {
	n.t.Helper()
	i := n.nodes
	n.nodes++
	space, sw := n.space(i), n.prefix+"-sw"
	port := fmt.Sprint("p", i+1)
	n.ip("netns", "add", space)
	n.ip("-n", sw, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
	n.ip("-n", sw, "link", "set", port, "master", "br0", "up")
	n.ip("-n", space, "addr", "add", n.host(i)+"/24", "dev", "eth0")
	n.ip("-n", space, "link", "set", "eth0", "up")
	n.ip("-n", space, "link", "set", "lo", "up")
	return n.host(i)
}

// CutOneWay drops everything from node i to node j.
func (n *network) CutOneWay(i, j int) { n.t.Helper(); n.cut[[2]int{i, j}] = true; n.rules(j) }

// Cut drops everything between nodes i and j.
func (n *network) Cut(i, j int) { n.t.Helper(); n.CutOneWay(i, j); n.CutOneWay(j, i) }

// Isolate cuts node i off from all other nodes. Clients still reach it.
func (n *network) Isolate(i int) {
	n.t.Helper()
	for j := range n.nodes {
		if j != i {
			n.Cut(i, j)
		}
	}
}

// Heal ends every cut.
func (n *network) Heal() {
	n.t.Helper()
	clear(n.cut)
	for i := range n.nodes {
		n.rules(i)
	}
}

// rules makes node i's namespace drop packets that are cut.
func (n *network) rules(i int) {
	n.t.Helper()
	var b strings.Builder
	b.WriteString("table ip cut { chain in { type filter hook input priority 0; }; }\nflush chain ip cut in\n")
	for pair := range n.cut {
		if pair[1] == i {
			fmt.Fprintf(&b, "add rule ip cut in ip saddr %s drop\n", n.host(pair[0]))
		}
	}
	cmd := exec.Command("ip", "netns", "exec", n.space(i), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("nft: %v: %s\n%s", err, out, b.String())
	}
}

// remove takes the network down; the nodes' processes have ended before.
func (n *network) remove() {
	var all error
	for i := range n.nodes {
		all = errors.Join(all, command("ip", "netns", "del", n.space(i)))
	}
	all = errors.Join(all, command("ip", "netns", "del", n.prefix+"-sw"))
	if all != nil {
		n.t.Error(all)
	}
}

// sweep removes the namespaces of test processes that have ended, and ends the
// processes that still run in them.
func sweep(t testing.TB) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := spaceName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		owner, _ := strconv.Atoi(m[1])
		if owner == os.Getpid() || syscall.Kill(owner, 0) == nil {
			continue
		}
		left, _ := exec.Command("ip", "netns", "pids", name).Output()
		for pid := range strings.FieldsSeq(string(left)) {
			if id, err := strconv.Atoi(pid); err == nil && id > 1 {
				t.Logf("ending process %d, left in %s", id, name)
				syscall.Kill(id, syscall.SIGKILL)
			}
		}
		if err := command("ip", "netns", "del", name); err != nil {
			t.Log(err) // another test process may have been faster
		}
	}
}
