package peers

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/perfgate/perfgate/e2e/harness"
)

// latency compares the time that the proxies add, at 30 % of what the slowest of them
// reaches with 64 connections. Requests come by a schedule of random arrivals, whatever
// the answers do, and the time of each counts from when it was due.
func latency(b *bench) {
	peers := []*peer{{name: "direct", addr: b.upstream}}
	rate := 0.0
	for _, name := range names {
		p := b.startPeer(name, options{upstream: b.upstream})
		b.wrk(p, traffic{path: "/1k"}, time.Second)
		if s := b.wrk(p, traffic{path: "/1k"}, b.span); rate == 0 || 0.3*s.rate < rate {
			rate = 0.3 * s.rate
		}
		peers = append(peers, p)
	}
	var p50, p99 series
	for range b.rounds {
		seed := b.rng.Uint64()
		took := make([][2]time.Duration, len(peers))
		foreign := make([]float64, len(peers))
		for _, i := range b.rng.Perm(len(peers)) {
			all, own, began := busy(), cpuOf(append(b.known, peers[i].pids...)...), time.Now()
			times, err := b.openLoop(peers[i], rate, rand.New(rand.NewPCG(seed, 0)))
			if err != nil {
				b.Fatalf("%s: %v", peers[i].name, err)
			}
			all, own = busy()-all, cpuOf(append(b.known, peers[i].pids...)...)-own
			foreign[i] = max(0, (all-own).Seconds()/time.Since(began).Seconds())
			slices.Sort(times)
			took[i] = [2]time.Duration{times[len(times)/2], times[len(times)*99/100]}
			fmt.Printf("measured: open loop, %.0f/s: %s: p50 %v, p99 %v; others %.2f cores\n", rate, peers[i].name, took[i][0], took[i][1], foreign[i])
		}
		for i, p := range peers[1:] {
			p50.add(p.name, micros(took[i+1][0]-took[0][0]), foreign[i+1])
			p99.add(p.name, micros(took[i+1][1]), foreign[i+1])
		}
	}
	b.table.row(fmt.Sprintf("added latency at %.0f requests/s (30 %%), open loop: p50, µs", rate), "%.0f", p50)
	b.table.row("the same load: p99 in all, µs", "%.0f", p99)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// line is one connection of the open loop.
type line struct {
	fd      int
	request []byte
	due     time.Duration // of the request under way
	got     []byte
}

// loop sends by the schedule and receives, in one thread.
type loop struct {
	epoll int
	lines map[int32]*line
	idle  []*line // the one that has waited longest first
	began time.Time
	times []time.Duration
}

// openLoop sends requests at a rate for b.span and returns the time of each.
func (b *bench) openLoop(p *peer, rate float64, rng *rand.Rand) ([]time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Timers of this thread shall not be rounded by 50 µs.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(epoll)
	n := int(rate * b.span.Seconds())
	l := &loop{epoll: epoll, lines: map[int32]*line{}, times: make([]time.Duration, 0, n)}
	defer l.close()
	for i := range 64 {
		if err := l.open(p, b.keys[i*len(b.keys)/64]); err != nil {
			return nil, err
		}
	}
	var due time.Duration
	schedule := make([]time.Duration, n)
	for i := range schedule {
		due += time.Duration(rng.ExpFloat64() / rate * 1e9)
		schedule[i] = due
	}
	return l.times, l.run(schedule)
}

func (l *loop) open(p *peer, key string) error {
	tcp, err := net.ResolveTCPAddr("tcp4", p.addr)
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := &line{fd: fd, request: []byte(harness.RawRequest("GET", p.addr, "/1k", key, "")), got: make([]byte, 0, 8<<10)}
	l.lines[int32(fd)], l.idle = c, append(l.idle, c)
	sa := &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	if err := syscall.Connect(fd, sa); err != nil {
		return err
	}
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

func (l *loop) close() {
	for _, c := range l.lines {
		syscall.Close(c.fd)
	}
}

// run ends when the last answer is there.
func (l *loop) run(schedule []time.Duration) error {
	events := make([]syscall.EpollEvent, 64)
	l.began = time.Now()
	for n := len(schedule); len(l.times) < n; {
		wait := answerLimit
		for len(schedule) > 0 && len(l.idle) > 0 {
			if wait = schedule[0] - time.Since(l.began); wait > 0 {
				break
			}
			c := l.idle[0]
			l.idle, c.due, schedule = l.idle[1:], schedule[0], schedule[1:]
			if sent, err := transfer(syscall.SYS_SENDTO, c.fd, c.request); err != nil || sent < len(c.request) {
				return fmt.Errorf("send: %d octets, %w", sent, err)
			}
			wait = answerLimit
		}
		got, err := await(l.epoll, events, wait)
		if err != nil {
			return err
		}
		if got == 0 && wait == answerLimit {
			return fmt.Errorf("no answer within %v", wait)
		}
		for _, e := range events[:got] {
			if err := l.receive(l.lines[e.Fd]); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive takes part of an answer, which has 1 KiB.
func (l *loop) receive(c *line) error {
	n, err := transfer(syscall.SYS_RECVFROM, c.fd, c.got[len(c.got):cap(c.got)])
	if errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	if err != nil || n == 0 {
		return fmt.Errorf("the connection has ended: %w", errors.Join(err, net.ErrClosed))
	}
	c.got = c.got[:len(c.got)+n]
	head := bytes.Index(c.got, []byte("\r\n\r\n"))
	if head < 0 || len(c.got) < head+4+1<<10 {
		return nil
	}
	l.times = append(l.times, time.Since(l.began)-c.due)
	if !bytes.HasPrefix(c.got, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answer: %.200s", c.got)
	}
	c.got, l.idle = c.got[:0], append(l.idle, c)
	return nil
}

// await is epoll_wait with nanoseconds.
func await(epoll int, events []syscall.EpollEvent, d time.Duration) (int, error) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == syscall.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
