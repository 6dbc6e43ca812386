// Perfgate is an enforcing reverse proxy for API keys with its own management
// API: one binary, no other service. See README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/cli"
	"github.com/perfgate/perfgate/node"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/recovery"
	"github.com/perfgate/perfgate/store/seal"
)

// version is set by the build.
var version = "dev"

func main() {
	syscall.Umask(0o077) // Pebble leaves the mode of its files to it
	if err := node.ForbidDumps(); err != nil {
		fmt.Fprintln(os.Stderr, "perfgate: the memory of this process may appear in core files:", err)
	}
	os.Exit(cli.Execute(context.Background(), cli.Config{
		Version: version, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv,
		Serve:       cli.Command{Flags: config.Flags(), Run: serve, FlagError: config.FlagError},
		CheckConfig: cli.Command{Flags: node.CheckFlags(), Run: checkConfig, FlagError: config.FlagError},
		Restore:     cli.Command{Flags: recovery.RestoreFlags(), Run: offline(recovery.RestoreCommand), FlagError: config.FlagError},
		Recover:     cli.Command{Flags: recovery.RecoverFlags(), Run: offline(recovery.RecoverCommand), FlagError: config.FlagError},
		Archive:     cli.Archive{Seal: seal.To.Seal, Verify: recovery.VerifyBackup},
	}, os.Args[1:]))
}

// serve runs a node until SIGTERM or SIGINT; the second one ends it at once.
// SIGHUP reloads.
func serve(ctx context.Context, flags *pflag.FlagSet, _ []string) error {
	load := func() (*config.Config, error) { return node.LoadFlags(flags, os.LookupEnv) }
	cfg, err := load()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	reload := make(chan struct{}, 1) // SIGHUPs during a reload count as one
	go func() {
		for s := range signals {
			switch {
			case s == syscall.SIGHUP:
				select {
				case reload <- struct{}{}:
				default:
				}
			case ctx.Err() != nil:
				os.Exit(1)
			default:
				stop()
			}
		}
	}()

	n, err := node.Open(ctx, node.Options{Config: cfg, Load: load, Environ: os.Environ(), Out: os.Stderr, Version: version, Memory: node.LimitMemory(cfg), Exit: os.Exit})
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it was waiting for other nodes
		}
		return err
	}
	// The standard log of libraries is for debugging only: net/http quotes unsolicited
	// bytes of upstreams there.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(n.Log().Handler(), slog.LevelDebug).Writer())
	go func() {
		for range reload {
			if err := n.Reload(); err != nil {
				n.Log().Error("reload", "error", err)
			}
		}
	}()
	return n.Run(ctx)
}

func checkConfig(ctx context.Context, flags *pflag.FlagSet, _ []string) error {
	check := node.Check{Flags: flags, Env: os.LookupEnv, Environ: os.Environ(), Out: os.Stdout, Err: os.Stderr}
	return check.Run(ctx)
}

// offline returns a command that works on the data directory of a node that is not
// running.
func offline(run func(recovery.Console, *pflag.FlagSet, []string) error) func(context.Context, *pflag.FlagSet, []string) error {
	return func(_ context.Context, flags *pflag.FlagSet, args []string) error {
		return run(recovery.Console{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv}, flags, args)
	}
}
