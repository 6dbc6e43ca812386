package peers

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc: 1/100 s wherever Go runs.
const tick = 10 * time.Millisecond

// statOf returns the fields of /proc/PID/stat from the third on: the second may hold
// spaces.
func statOf(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
}

// family is a process with its children, which are the workers of nginx.
func family(pid int) []int {
	out := []int{pid}
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		child, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if f := statOf(child); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			out = append(out, child)
		}
	}
	return out
}

// cpuOf is the processor time that processes have used, in user mode and the kernel,
// with all their threads.
func cpuOf(pids ...int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		f := statOf(pid)
		if len(f) < 13 {
			continue
		}
		for _, text := range f[11:13] {
			n, _ := strconv.ParseInt(text, 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// busy is the processor time that the machine has used, or that was taken from it.
func busy() time.Duration {
	raw, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(raw), "\n")
	var sum time.Duration
	for i, text := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal; guests are in user.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, _ := strconv.ParseInt(text, 10, 64)
		sum += time.Duration(n) * tick
	}
	return sum
}

// residentOf is the resident memory of processes in bytes. What they share counts once
// for each of them.
func residentOf(pids ...int) (sum int64) {
	for _, pid := range pids {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, after, _ := strings.Cut(string(raw), "VmRSS:")
		var kb int64
		fmt.Sscan(after, &kb)
		sum += kb << 10
	}
	return sum
}

// tcpCount is a counter of TCP in this network namespace (TcpExt), 0 if there is none.
func tcpCount(name string) int {
	raw, _ := os.ReadFile("/proc/self/net/netstat")
	titles, rest, _ := strings.Cut(string(raw), "\n")
	values, _, _ := strings.Cut(rest, "\n")
	fields := strings.Fields(values)
	for i, title := range strings.Fields(titles) {
		if title == name && i < len(fields) {
			n, _ := strconv.Atoi(fields[i])
			return n
		}
	}
	return 0
}
