package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Config holds the surroundings of a command line and the commands that are
// implemented elsewhere.
type Config struct {
	Version string // of this build
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Env     func(name string) (value string, ok bool)

	// Commands that run in this process instead of calling a server. A command
	// with a nil Run is hidden.
	Serve       Command
	CheckConfig Command
	Restore     Command
	Recover     Command

	Archive Archive // reads and writes backup files
}

// Command is a command that is implemented by the caller. Flags are registered
// with it and parsed before Run is called; args are the remaining arguments.
// FlagError, if set, rewords an error in the flags.
type Command struct {
	Flags     *pflag.FlagSet
	Run       func(ctx context.Context, flags *pflag.FlagSet, args []string) error
	FlagError func(error) error
}

// Execute runs the command line args (without the program's name) and returns
// the exit code. Errors are printed on stderr.
func Execute(ctx context.Context, c Config, args []string) int {
	root := New(c)
	root.SetArgs(append([]string{}, args...)) // cobra takes the process's arguments instead of nil
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var quiet exitError
	if errors.As(err, &quiet) {
		return quiet.ExitCode()
	}
	if asked, _ := root.PersistentFlags().GetBool("json"); asked {
		fmt.Fprintln(c.Stderr, errorJSON(err))
	} else {
		for line := range strings.Lines(describe(err)) {
			fmt.Fprintln(c.Stderr, "perfgate:", masked(strings.TrimSuffix(line, "\n")))
		}
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitFailure
}

// New returns the root command.
func New(c Config) *cobra.Command {
	a := &app{Config: c}
	root := &cobra.Command{
		Use:           "perfgate",
		Short:         "A reverse proxy that enforces API keys",
		Long:          "Perfgate is a reverse proxy that enforces API keys. It runs alone or as a cluster,\nand is managed through an API, of which this command line is a client.",
		Version:       c.Version,
		Annotations:   isGroup,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSubcommand,

		PersistentPreRunE: refuseEmpty,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(c.Stderr)
			if err := cmd.Help(); err != nil {
				return err
			}
			return exitError(exitUsage)
		},
	}
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return &usageError{err}
	})
	a.flags(root.PersistentFlags())
	addCommands(root, a)
	addQuestions(root, a)
	addCompletions(root, a)
	wrapArgs(root)
	root.SetGlobalNormalizationFunc(singular)
	return root
}

// singular takes the API's name of a list for the flag that adds to it.
func singular(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "scopes", "routes", "events":
		name = strings.TrimSuffix(name, "s")
	}
	return pflag.NormalizedName(name)
}

func addCommands(root *cobra.Command, a *app) {
	add := func(id, title string, cmds ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add("node", "Run a node:",
		serveCommand(a.Serve), checkConfigCommand(a.CheckConfig), healthCommand(a))
	add("keys", "Manage keys and accounts:",
		keysCommand(a), limitsCommand(a), ratelimitCommand(a), allowlistCommand(a), webhooksCommand(a), accountsCommand(a), tiersCommand(a))
	add("access", "Manage access to the installation:",
		usersCommand(a), tokensCommand(a), tokenCommand(a), erasuresCommand(a))
	add("requests", "Inspect requests and changes:",
		usageCommand(a), securityCommand(a), auditCommand(a), incidentCommand(a), explainCommand(a), scanCommand(a), complianceCommand(a))
	add("cluster", "Operate a cluster:",
		clusterCommand(a), keyringCommand(a), backupCommand(a), restoreCommand(a.Restore), recoverCommand(a.Recover))
	root.CompletionOptions.DisableDefaultCmd = true // for one with examples
	root.AddCommand(completionCommand(a), manCommand(a), versionCommand(a))
}
