package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// startTimeout bounds the formation of the cluster.
const startTimeout = time.Minute

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "member" {
		err = member(os.Args[2:])
	} else {
		err = compare(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
}

// compare starts three members, loads them, prints the figures and ends them.
func compare(args []string) error {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder for the members' data (default: a temporary one); fsync should be real there")
	span := flags.Duration("time", 5*time.Second, "length of each run")
	size := flags.Int("size", 300, "bytes of a value")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work, err := os.MkdirTemp(*dir, "perfgate-etcd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	members, endpoints, err := form(ctx, work)
	defer func() {
		for _, m := range members {
			m.Process.Kill()
			m.Wait()
		}
	}()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: startTimeout, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := answers(ctx, client); err != nil {
		return fmt.Errorf("%w\n%s", err, logs(work))
	}
	fmt.Printf("etcd %s, %d members, values of %d bytes\n", etcdVersion, len(members), *size)
	for _, inFlight := range []int{1, 64} {
		r, err := load(ctx, client, inFlight, *size, *span)
		if err != nil {
			return err
		}
		fmt.Printf("etcd in_flight=%d writes_per_second=%.0f p50=%v p99=%v\n", inFlight, r.rate, r.p50.Round(10*time.Microsecond), r.p99.Round(10*time.Microsecond))
	}
	return nil
}

// form starts the members; those that run are returned with an error too.
func form(ctx context.Context, work string) (members []*exec.Cmd, endpoints []string, err error) {
	names := []string{"m1", "m2", "m3"}
	var peers, cluster []string
	for _, name := range names {
		c, err := free()
		if err != nil {
			return nil, nil, err
		}
		p, err := free()
		if err != nil {
			return nil, nil, err
		}
		endpoints = append(endpoints, "http://"+c)
		peers = append(peers, "http://"+p)
		cluster = append(cluster, name+"=http://"+p)
	}
	for i, name := range names {
		log, err := os.Create(filepath.Join(work, name+".log"))
		if err != nil {
			return members, nil, err
		}
		cmd := exec.CommandContext(ctx, os.Args[0], "member", "-name", name, "-dir", filepath.Join(work, name),
			"-client", endpoints[i], "-peer", peers[i], "-cluster", strings.Join(cluster, ","))
		cmd.Stdout, cmd.Stderr = log, log
		// A member that outlives this process would be in the way of everything after it.
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err = cmd.Start()
		log.Close()
		if err != nil {
			return members, nil, err
		}
		members = append(members, cmd)
	}
	return members, endpoints, nil
}

// free picks a free loopback port.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// answers returns when the cluster takes a write.
func answers(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, 2*time.Second)
		_, err := client.Put(try, "ready", "")
		done()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("the members took no write within %v", startTimeout), err)
		}
	}
}

// logs is the end of the members' output.
func logs(work string) string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(work, "*.log"))
	for _, f := range files {
		raw, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "%s: …%s\n", filepath.Base(f), raw[max(0, len(raw)-2000):])
	}
	return b.String()
}
