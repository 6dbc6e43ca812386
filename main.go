// Perfgate is an enforcing reverse proxy for API keys with its own management
// API: one binary, no other service. See README.md.
package main

import (
	"context"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/cli"
	"github.com/perfgate/perfgate/node"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(cli.Execute(context.Background(), cli.Config{
		Version: version, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv,
		Serve:       cli.Command{Flags: node.Flags(), Run: serve, FlagError: node.FlagError},
		CheckConfig: cli.Command{Flags: node.Flags(), Run: checkConfig, FlagError: node.FlagError},
		Restore:     cli.Command{Flags: node.RestoreFlags(), Run: offline(node.RestoreCommand), FlagError: node.FlagError},
		Recover:     cli.Command{Flags: node.RecoverFlags(), Run: offline(node.RecoverCommand), FlagError: node.FlagError},
		Archive:     cli.Archive{Seal: node.SealBackup, Verify: node.VerifyBackup},
	}, os.Args[1:]))
}

// serve runs a node until SIGTERM or SIGINT; the second one ends it at once.
// SIGHUP reloads.
func serve(ctx context.Context, flags *pflag.FlagSet, _ []string) error {
	load := func() (*node.Config, error) { return node.LoadFlags(flags, os.LookupEnv) }
	config, err := load()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	reload := make(chan struct{}, 1) // several SIGHUPs in a row are one
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

	node.LimitMemory()
	n, err := node.Open(ctx, node.Options{Config: config, Load: load, Out: os.Stderr, Version: version, Exit: os.Exit})
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it still waited for others, say
		}
		return err
	}
	// What libraries say on the standard log is for who looks for it: net/http
	// quotes there what an upstream sent unasked.
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

func checkConfig(_ context.Context, flags *pflag.FlagSet, _ []string) error {
	config, err := node.LoadFlags(flags, os.LookupEnv)
	if err != nil {
		return err
	}
	return node.CheckConfig(os.Stdout, config)
}

// offline is a command that works on a data directory while no node does.
func offline(run func(node.Console, *pflag.FlagSet, []string) error) func(context.Context, *pflag.FlagSet, []string) error {
	return func(_ context.Context, flags *pflag.FlagSet, args []string) error {
		return run(node.Console{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv}, flags, args)
	}
}
