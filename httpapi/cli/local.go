package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func serveCommand(c Command) *cobra.Command {
	return local(c, &cobra.Command{
		Use: "serve", Short: "Run a node", Args: cobra.NoArgs,
		Long: `Run a node until Ctrl-C or SIGTERM, which let requests in flight end; a second one
ends it at once. With neither a route nor an upstream, a built-in echo service
answers.

Each setting is taken from its default, the configuration file, a PERFGATE_…
environment variable or a flag; the later ones override the earlier ones.
SIGHUP reloads routes, certificates and what is logged.`,
		Example: `  perfgate serve --upstream http://127.0.0.1:9000
  perfgate serve --config perfgate.toml`,
	})
}

func checkConfigCommand(c Command) *cobra.Command {
	return local(c, &cobra.Command{
		Use: "check-config [FILE]", Short: "Check whether a node could start with this configuration", Args: cobra.MaximumNArgs(1),
		Example: "  perfgate check-config perfgate.toml\n  perfgate check-config perfgate.toml --probe",
		Long: `Check the configuration without starting a node. Print ok, or every error found.
FILE is the same as --config FILE.
Warnings are about settings with which a node runs, and which are a mistake more
often than not. Nothing is connected to unless --probe is given; the exit code is 1
if an upstream cannot be reached.`,
	})
}

func restoreCommand(c Command) *cobra.Command {
	return local(c, &cobra.Command{
		Use: "restore FILE", Short: "Create a new cluster from a backup, in an empty data directory", Args: cobra.ExactArgs(1),
		Example: "  perfgate restore perfgate-2027-01-31.backup --data-dir /var/lib/perfgate --audit since.ndjson",
		Long: `Read and verify a whole backup, then prepare an empty data directory from it. The
node that starts there is a new cluster of one.

Keys that were revoked after the backup work again; a warning says so. Give
--audit to revoke them again. An encrypted backup needs its passphrase, from
` + passphraseEnv + ` or --passphrase-file, or the private part of a
recovery key, from --identity.`,
	})
}

func recoverCommand(c Command) *cobra.Command {
	return local(c, &cobra.Command{
		Use: "recover", Short: "Create a new cluster from a stopped node after the majority is lost", Args: cobra.NoArgs,
		Example: "  perfgate recover --data-dir /var/lib/perfgate",
		Long: `Create a new cluster from a stopped node, when the majority of its old cluster is
lost for good. The command shows how recent the node's copy is and asks for
confirmation.

Changes that only the lost nodes had are lost, revocations among them. The data
directories of all other nodes must be removed before they start again.`,
	})
}

// local completes a command that runs in this process instead of calling a
// server. The global flags have no meaning for it and are refused.
func local(c Command, cmd *cobra.Command) *cobra.Command {
	cmd.Hidden = c.Run == nil
	cmd.Annotations = map[string]string{runsHere: "true"}
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
			return usagef("%s is not part of this build", cmd.Name())
		}
		var foreign error
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				foreign = usagef("--%s does not apply to %s", f.Name, cmd.Name())
			}
		})
		if foreign != nil {
			return foreign
		}
		if cmd.Name() == "check-config" && len(args) == 1 {
			if c.Flags.Changed("config") {
				return usagef("give the file once: as an argument or by --config")
			}
			if err := c.Flags.Set("config", args[0]); err != nil {
				return &usageError{err}
			}
			args = nil
		}
		return c.Run(cmd.Context(), c.Flags, args)
	}
	return cmd
}
