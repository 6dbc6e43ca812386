package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/store/seal"
)

// passphraseEnv holds the passphrase of backups.
const passphraseEnv = "PERFGATE_BACKUP_PASSPHRASE"

// Archive reads and writes backup files. It is passed in by main.
type Archive struct {
	// Seal encrypts everything written to the result, to w. Closing the result
	// completes the file; without that it does not verify. With opens the file again.
	Seal func(to seal.To, w io.Writer) (file io.WriteCloser, with seal.With, err error)
	// Verify reads a whole backup. The report prints itself and encodes as JSON.
	Verify func(r io.Reader, with seal.With) (fmt.Stringer, error)
}

func backupCommand(a *app) *cobra.Command {
	var secret string
	var recipients []string
	var force bool
	cmd := &cobra.Command{
		Use: "backup [FILE]", Short: "Back up a running node or cluster", Args: cobra.MaximumNArgs(1),
		Long: `Write the state of the cluster at one moment to FILE, or to stdout: keys, accounts,
tiers, allowlists, monthly counts, and the audit log of changes. FILE gets its
name once it has been read back and verified. A FILE that exists stays as it is,
unless --force replaces it.

The backup is encrypted, as an age file, with a passphrase from
` + passphraseEnv + ` or --passphrase-file, or for the owners of the
recovery keys that --recipient names, which precede the variable. See "perfgate
restore".`,
		Example: "  perfgate backup perfgate-$(date +%F).backup\n  perfgate backup --recipient age1xl9qn7xhypd003z4rhdk6ru6l6ct5q3d4cjwh5wx26f3tlk2me4qu8n5cd perfgate-$(date +%F).backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := fileArg(args)
			if path == "-" && isTerminal(a.Stdout) {
				return usagef("a backup cannot be written to a terminal: name a FILE, or redirect stdout")
			}
			if _, err := os.Lstat(path); path != "-" && !force && err == nil {
				return taken(path)
			}
			to, err := a.sealTo(secret, recipients)
			if err != nil {
				return err
			}
			if to.None() {
				a.warn("the backup is not encrypted, and it contains the hashes of all keys and tokens. Set a passphrase with %s or --passphrase-file, or name recovery keys with --recipient.", passphraseEnv)
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			return s.backup(cmd.Context(), path, to, force)
		},
	}
	passphraseFlag(cmd, &secret)
	cmd.Flags().StringSliceVar(&recipients, "recipient", nil, "public `KEY` (age1…) whose owner can open the backup; can be repeated")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	cmd.AddCommand(backupVerify(a))
	return cmd
}

func passphraseFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "passphrase-file", "", "`file` with the passphrase in its first line (default: "+passphraseEnv+")")
}

func backupVerify(a *app) *cobra.Command {
	var secret, identity string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Verify a whole backup and summarize it; needs no node", Args: cobra.ExactArgs(1),
		Example: "  perfgate backup verify perfgate-2027-01-31.backup",
		RunE: func(_ *cobra.Command, args []string) error {
			with, err := a.openWith(secret, identity)
			if err != nil {
				return err
			}
			report, err := a.verify(args[0], with)
			if err != nil {
				return err
			}
			return a.report(report)
		},
	}
	passphraseFlag(cmd, &secret)
	cmd.Flags().StringVar(&identity, "identity", "", "`file` with the private part of a recovery key (AGE-SECRET-KEY-…)")
	return cmd
}

// sealTo says who can open a new backup: the recipients, else whoever has the passphrase.
func (a *app) sealTo(file string, recipients []string) (to seal.To, err error) {
	if len(recipients) == 0 {
		to.Passphrase, err = a.passphrase(file)
		return to, err
	}
	if file != "" {
		return to, usagef("a backup is encrypted either with a passphrase or for recipients: leave --passphrase-file or --recipient out")
	}
	to.Recipients = recipients
	if err := to.Check(); err != nil {
		return to, usagef("--recipient: %v", err)
	}
	return to, nil
}

// openWith is what opens an encrypted backup.
func (a *app) openWith(file, identity string) (with seal.With, err error) {
	if with.Passphrase, err = a.passphrase(file); err != nil || identity == "" {
		return with, err
	}
	raw, err := readFile(identity)
	if err == nil {
		with.Identities, err = seal.ParseIdentities(raw)
	}
	if err != nil {
		return with, fmt.Errorf("read identity %s: %w", identity, err)
	}
	return with, nil
}

// passphrase returns the first line of the file, or without a file the
// environment's passphrase; "" if there is none.
func (a *app) passphrase(file string) (string, error) {
	if file == "" {
		return a.env(passphraseEnv), nil
	}
	raw, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("read passphrase: the first line of %q is empty", file)
	}
	return line, nil
}

// backup writes a backup to stdout, or to a file that is synced and read back
// before it gets its name.
func (s *session) backup(ctx context.Context, path string, to seal.To, force bool) error {
	bar := s.progress("backup", -1)
	defer bar.Close()
	var with seal.With
	write := func(w io.Writer) (err error) {
		with, err = s.writeBackup(ctx, io.MultiWriter(w, bar), to)
		return err
	}
	if path == "-" {
		return write(s.Stdout)
	}
	var report fmt.Stringer
	err := replaceFile(path, write, func(tmp string) (err error) {
		if report, err = s.verify(tmp, with); err != nil {
			return fmt.Errorf("read it back: %w", err)
		}
		if _, err := os.Lstat(path); !force && err == nil { // made meanwhile
			return taken(path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	bar.Close()
	return s.report(report)
}

func taken(path string) error {
	return fmt.Errorf("%s exists, and a backup is not to take the place of another; name a new file, or repeat with --force", path)
}

// writeBackup copies the server's backup to w, encrypted if to names somebody, and returns
// what opens it.
func (s *session) writeBackup(ctx context.Context, w io.Writer, to seal.To) (with seal.With, err error) {
	c := call{method: http.MethodGet, path: "/v1/backup"}
	if to.None() {
		return with, s.do(ctx, c, w)
	}
	file, with, err := s.Archive.Seal(to, w)
	if err != nil {
		return with, err
	}
	if err := s.do(ctx, c, file); err != nil {
		return with, err // not closed, so that an incomplete backup does not verify
	}
	return with, file.Close()
}

// verify reads a backup file.
func (a *app) verify(path string, with seal.With) (fmt.Stringer, error) {
	f, size, err := a.input(path)
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	defer f.Close()
	bar := a.progress("verify", size)
	defer bar.Close()
	return a.Archive.Verify(io.TeeReader(f, bar), with)
}

func (a *app) report(r fmt.Stringer) error {
	if a.json {
		return json.NewEncoder(a.Stdout).Encode(r)
	}
	_, err := io.WriteString(a.Stdout, r.String())
	return err
}
