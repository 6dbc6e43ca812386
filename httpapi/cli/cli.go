package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// Config is what the command line needs of the process that it runs in.
type Config struct {
	Version string // of this build
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Env     func(name string) (value string, ok bool)

	// Commands that are not clients; a nil Run leaves the command out.
	Serve       Command
	CheckConfig Command
	Restore     Command
	Recover     Command

	Archive Archive // of backup files
}

// Command is a command that main hands in. Flags are added to it and parsed when
// Run is called; args are what is not a flag. FlagError, if set, puts an error of
// the flags into the command's own words.
type Command struct {
	Flags     *pflag.FlagSet
	Run       func(ctx context.Context, flags *pflag.FlagSet, args []string) error
	FlagError func(error) error
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return 2 }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitError ends the process with a code and without another word.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
func (e exitError) ExitCode() int { return int(e) }

// Execute runs the command line args (without the program's name) and returns
// the exit code. What goes wrong is told on stderr.
func Execute(ctx context.Context, c Config, args []string) int {
	root := New(c)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var quiet exitError
	if !errors.As(err, &quiet) {
		for line := range strings.Lines(describe(err)) {
			fmt.Fprintln(c.Stderr, "perfgate:", strings.TrimSuffix(line, "\n"))
		}
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}

// describe is err for people: of a fault its sentence and its code.
func describe(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err.Error()
	}
	s := f.Sentence() + " (" + string(f.Code) + ")"
	if f.RetryAfter > 0 {
		s += fmt.Sprintf("; try again in %d s", f.RetryAfter)
	}
	return oneLine(s)
}

// New returns the root command.
func New(c Config) *cobra.Command {
	a := &app{Config: c}
	root := &cobra.Command{
		Use:           "perfgate",
		Short:         "A reverse proxy that enforces API keys, and its management",
		Version:       c.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(c.Stderr)
			cmd.Help()
			return exitError(2)
		},
	}
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return &usageError{err}
	})
	a.flags(root.PersistentFlags())

	root.AddCommand(
		a.local("serve", "Run a node", "Runs a node until SIGTERM. Settings come from defaults, the file, PERFGATE_… variables and flags, the later ones winning. SIGHUP reloads routes, certificates and log level.", c.Serve),
		a.local("check-config", "Say whether a node could start with this configuration", "Prints ok, or every fault found.", c.CheckConfig),
		a.healthCommand(),
		a.keysCommand(),
		a.allowlistCommand(),
		a.usageCommand(),
		a.auditCommand(),
		a.explainCommand(),
		a.accountsCommand(),
		a.tiersCommand(),
		a.clusterCommand(),
		a.backupCommand(),
		a.scanCommand(),
		a.versionCommand(),
	)
	if c.Restore.Run != nil {
		root.AddCommand(a.local("restore FILE", "Make a new cluster of a backup, in an empty data directory",
			"Reads the backup to its end, then prepares the data directory for a node that is a new cluster by itself. Keys that were revoked after the backup work again, which it says; --audit revokes them. An encrypted backup needs its passphrase, in "+passphraseEnv+" or --passphrase-file.", c.Restore))
	}
	if c.Recover.Run != nil {
		root.AddCommand(a.local("recover", "Make a new cluster of a stopped node, when the majority of the old one is lost for good",
			"Says how far the node's copy reaches and asks. What the lost nodes had and this one has not is lost, revocations among it; the data of all other nodes has to be removed before they start again.", c.Recover))
	}
	wrapArgs(root)
	return root
}

// wrapArgs makes what cobra says about arguments usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// local is a command that runs in this process instead of calling a server: the
// flags that tell how to call one have no meaning for it.
func (a *app) local(name, short, long string, c Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Long: long, Hidden: c.Run == nil, Args: cobra.NoArgs}
	if strings.HasPrefix(name, "restore") {
		cmd.Args = cobra.ExactArgs(1)
	}
	if c.Flags != nil {
		cmd.Flags().AddFlagSet(c.Flags)
	}
	cmd.SetUsageTemplate(localUsage)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if c.FlagError != nil && !errors.Is(err, pflag.ErrHelp) {
			return c.FlagError(err)
		}
		return &usageError{err}
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.Run == nil {
			return usagef("%s is not part of this build", name)
		}
		var foreign error
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				foreign = usagef("--%s has no meaning for %s", f.Name, name)
			}
		})
		if foreign != nil {
			return foreign
		}
		return c.Run(cmd.Context(), c.Flags, args)
	}
	return cmd
}

// localUsage is cobra's template without the global flags.
const localUsage = `Usage:
  {{.UseLine}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}
`

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("%s needs a command; see %s --help", cmd.CommandPath(), cmd.CommandPath())
		},
	}
	cmd.AddCommand(subs...)
	return cmd
}
