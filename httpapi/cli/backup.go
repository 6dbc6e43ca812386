package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// passphraseEnv holds what backups are encrypted to.
const passphraseEnv = "PERFGATE_BACKUP_PASSPHRASE"

// Archive is what the command line asks about backup files; main hands it in.
type Archive struct {
	// Seal encrypts what is written to it; closing it makes w's content whole.
	Seal func(w io.Writer, passphrase string) (io.WriteCloser, error)
	// Verify reads all of a backup. The report prints itself and as JSON.
	Verify func(r io.Reader, passphrase string) (fmt.Stringer, error)
}

func (a *app) backupCommand() *cobra.Command {
	var secret string
	cmd := &cobra.Command{
		Use:   "backup [FILE]",
		Short: "Write a backup of everything, from a running node",
		Long: `Writes the state at one moment to FILE, or to stdout: keys, accounts, tiers, allowlists, months, the audit log of changes. FILE
appears under its name when it was read back and is whole. With a passphrase in ` + passphraseEnv + ` or --passphrase-file the backup
is encrypted (an age file). See "perfgate restore".`,
		Example: "  perfgate backup perfgate-$(date +%F).backup",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 1 {
				path = args[0]
			} else if terminal(a.Stdout) {
				return usagef("a backup is not for a terminal: name a FILE, or send stdout elsewhere")
			}
			passphrase, err := a.passphrase(secret)
			if err != nil {
				return err
			}
			if passphrase == "" {
				fmt.Fprintln(a.Stderr, "perfgate: warning: no passphrase is given, so the backup is not encrypted; it holds what all keys and tokens are checked with. Set "+passphraseEnv+" or --passphrase-file.")
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			return s.backup(cmd.Context(), path, passphrase)
		},
	}
	cmd.Flags().StringVar(&secret, "passphrase-file", "", "file with the passphrase (or "+passphraseEnv+")")
	cmd.AddCommand(a.backupVerify())
	return cmd
}

func (a *app) backupVerify() *cobra.Command {
	var secret string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Read a backup to its end and say what is in it; needs no node", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			passphrase, err := a.passphrase(secret)
			if err != nil {
				return err
			}
			report, err := a.verify(args[0], passphrase)
			if err != nil {
				return err
			}
			return a.report(report)
		},
	}
	cmd.Flags().StringVar(&secret, "passphrase-file", "", "file with the passphrase (or "+passphraseEnv+")")
	return cmd
}

// passphrase is the first line of the file, or else the environment's; "" if
// there is none.
func (a *app) passphrase(file string) (string, error) {
	if file == "" {
		return a.env(passphraseEnv), nil
	}
	raw, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("read the passphrase: the first line of %q is empty", file)
	}
	return line, nil
}

// backup copies the stream to a file that is synced, read back and only then
// given its name; or to stdout.
func (s *session) backup(ctx context.Context, path, passphrase string) (err error) {
	bar := s.progress("backup", -1)
	defer bar.Close()
	if path == "-" {
		return s.sealed(ctx, io.MultiWriter(s.Stdout, bar), passphrase)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("backup: %w", err)
		}
	}()
	err = s.sealed(ctx, io.MultiWriter(f, bar), passphrase)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	report, err := s.verify(f.Name(), passphrase)
	if err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if err = syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	bar.Close()
	return s.report(report)
}

// sealed writes the server's backup to w, encrypted if there is a passphrase.
func (s *session) sealed(ctx context.Context, w io.Writer, passphrase string) error {
	call := ask{method: http.MethodGet, path: "/v1/backup"}
	if passphrase == "" {
		return s.do(ctx, call, w)
	}
	seal, err := s.Archive.Seal(w, passphrase)
	if err != nil {
		return err
	}
	if err := s.do(ctx, call, seal); err != nil {
		return err // not closed: what is there must not look whole
	}
	return seal.Close()
}

// verify reads a backup from a file.
func (a *app) verify(path, passphrase string) (fmt.Stringer, error) {
	f, size, err := a.input(path)
	if err != nil {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	defer f.Close()
	bar := a.progress("verify", size)
	defer bar.Close()
	return a.Archive.Verify(io.TeeReader(f, bar), passphrase)
}

func (a *app) report(r fmt.Stringer) error {
	if a.json {
		return json.NewEncoder(a.Stdout).Encode(r)
	}
	_, err := io.WriteString(a.Stdout, r.String())
	return err
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
