package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/iprange"
)

const (
	allowlistPath = "/v1/allowlist"
	maxAllowFile  = 8 << 20 // bytes, the API's bound
	allowTries    = 5       // of changing a list that others change at the same time
)

func allowlistCommand(a *app) *cobra.Command {
	return group("allowlist", "Manage the addresses that may use the account's keys",
		allowlistGet(a), allowlistCheck(a), allowlistSet(a), allowlistAdd(a), allowlistRemove(a), allowlistConfirm(a), allowlistRevert(a))
}

func allowlistGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get", Short: "Show the allowlist", Args: cobra.NoArgs,
		Example: "  perfgate allowlist get\n  perfgate allowlist get --account acct_2x… --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: allowlistPath}, showAllowlist)
		},
	}
}

// errNotAllowed is the failure of a check of an address that would not pass.
var errNotAllowed = errors.New("the address is not on the allowlist: requests from it would be refused")

func allowlistCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check ADDRESS", Short: "Tell whether an address would pass the allowlist", Args: cobra.ExactArgs(1),
		Long:    "Tell whether the account's allowlist lets an address pass, and by which entry. A key may\nhave addresses of its own in addition. The exit code is 1 if the address would not pass.\nWith --json, the list is printed and nothing is judged.",
		Example: "  perfgate allowlist check 203.0.113.7",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: allowlistPath}, func(a *app, v *client.Allowlist) error {
				address, err := netip.ParseAddr(args[0])
				if err != nil || address.Zone() != "" {
					return fmt.Errorf("%s is no IP address", printable(args[0]))
				}
				if len(v.Entries) == 0 {
					_, err := fmt.Fprintln(a.Stdout, "It passes: the allowlist is empty.")
					return err
				}
				for _, e := range v.Entries {
					if p, err := iprange.Parse(e.CIDR); err == nil && p.Contains(address.Unmap()) {
						_, err := fmt.Fprintln(a.Stdout, strings.TrimSpace("It passes by "+printable(e.CIDR+"  "+e.Note)))
						return err
					}
				}
				return errNotAllowed
			})
		},
	}
}

func showAllowlist(a *app, v *client.Allowlist) error {
	if len(v.Entries) == 0 {
		fmt.Fprintln(a.Stderr, "The allowlist is empty: every address is allowed.")
	}
	t := newTable(a.Stdout, "CIDR", "NOTE")
	for _, e := range v.Entries {
		t.row(e.CIDR, e.Note)
	}
	if p := v.Pending; p != nil {
		fmt.Fprintf(a.Stderr, "On trial: perfgate allowlist confirm keeps it; otherwise the list from before comes back at %s.\n", p.ConfirmBy.Format(time.RFC3339))
	}
	if v.Revocation != nil {
		fmt.Fprintln(a.Stderr, "The change is "+printable(effect(v.Revocation))+".")
	}
	return t.flush()
}

// forceFlag adds --force, which carries out a change although effect happens.
func forceFlag(cmd *cobra.Command, force *bool, effect string) {
	cmd.Flags().BoolVar(force, "force", false, "make the change even if "+effect)
}

func forceQuery(force bool) url.Values {
	if !force {
		return nil
	}
	return url.Values{"force": {"true"}}
}

// allowFlags are the flags of each command that changes the list.
type allowFlags struct {
	force  bool
	within string
}

func (f *allowFlags) add(cmd *cobra.Command, effect string) {
	forceFlag(cmd, &f.force, effect)
	cmd.Flags().StringVar(&f.within, "confirm-within", "", "bring the list from before back after this `duration`, such as 5m, unless perfgate allowlist confirm is called")
}

func (f *allowFlags) query() url.Values {
	q := url.Values{}
	if f.force {
		q.Set("force", "true")
	}
	if f.within != "" {
		q.Set("confirm_within", f.within)
	}
	return q
}

// allowlistConfirm and allowlistRevert end a trial.
func allowlistConfirm(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep an allowlist that was set with --confirm-within", Args: cobra.NoArgs,
		Example: "  perfgate allowlist confirm",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: allowlistPath + "/confirm"}, showAllowlist)
		},
	}
}

func allowlistRevert(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "revert", Short: "Bring back the allowlist from before --confirm-within", Args: cobra.NoArgs,
		Example: "  perfgate allowlist revert",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: allowlistPath + "/revert", query: forceQuery(force)}, showAllowlist)
		},
	}
	forceFlag(cmd, &force, "the list from before locks you out")
	return cmd
}

func allowlistSet(a *app) *cobra.Command {
	var flags allowFlags
	cmd := &cobra.Command{
		Use: "set [FILE]", Short: "Replace the allowlist with the lines of a file or of stdin", Args: cobra.MaximumNArgs(1),
		Long: `Replace the allowlist with the lines of FILE, or of stdin. A line holds one address
or CIDR range; the text after # is its note. A list without entries allows every address
and needs --force.`,
		Example: "  perfgate allowlist set allowed.txt",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := fileArg(args)
			in, size, err := a.input(path)
			if err != nil {
				return fmt.Errorf("read allowlist: %w", err)
			}
			defer in.Close()
			if size > maxAllowFile {
				return fmt.Errorf("read allowlist: %q is larger than %d bytes", path, maxAllowFile)
			}
			list, err := io.ReadAll(io.LimitReader(in, maxAllowFile+1))
			if err != nil {
				return fmt.Errorf("read allowlist: %w", err)
			}
			if !flags.force && !hasEntries(list) {
				return errors.New("the list has no entries, which allows every address; repeat with --force to do that")
			}
			return run(cmd.Context(), a, call{
				method: http.MethodPut, path: allowlistPath, query: flags.query(),
				body: bytes.NewReader(list), contentType: "text/plain",
			}, showAllowlist)
		},
	}
	flags.add(cmd, "the list is empty or locks you out")
	return cmd
}

// hasEntries reports whether a line of list holds more than a comment.
func hasEntries(list []byte) bool {
	for line := range bytes.Lines(list) {
		entry, _, _ := bytes.Cut(line, []byte("#"))
		if len(bytes.TrimSpace(entry)) > 0 {
			return true
		}
	}
	return false
}

func allowlistAdd(a *app) *cobra.Command {
	var note string
	var flags allowFlags
	cmd := &cobra.Command{
		Use: "add CIDR…", Short: "Add entries to the allowlist", Args: cobra.MinimumNArgs(1),
		Example: `  perfgate allowlist add 203.0.113.0/24 --note "office"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeAllowlist(cmd.Context(), a, &flags, func(list []client.AllowEntry) ([]client.AllowEntry, error) {
				for _, cidr := range args {
					i := slices.IndexFunc(list, func(e client.AllowEntry) bool { return sameRange(e.CIDR, cidr) })
					switch {
					case i < 0:
						list = append(list, client.AllowEntry{CIDR: cidr, Note: note})
					case note != "":
						list[i].Note = note
					}
				}
				return list, nil
			})
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "`text` to keep with the entries")
	flags.add(cmd, "the new list locks you out")
	return cmd
}

func allowlistRemove(a *app) *cobra.Command {
	var flags allowFlags
	cmd := &cobra.Command{
		Use: "remove CIDR…", Short: "Remove entries from the allowlist", Args: cobra.MinimumNArgs(1),
		Example: "  perfgate allowlist remove 203.0.113.0/24",
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeAllowlist(cmd.Context(), a, &flags, func(list []client.AllowEntry) ([]client.AllowEntry, error) {
				for _, cidr := range args {
					n := len(list)
					list = slices.DeleteFunc(list, func(e client.AllowEntry) bool { return sameRange(e.CIDR, cidr) })
					if len(list) == n {
						return nil, fmt.Errorf("%s is not on the allowlist", printable(cidr))
					}
				}
				if len(list) == 0 && !flags.force {
					return nil, errors.New("the allowlist would be empty, which allows every address; repeat with --force to do that")
				}
				return list, nil
			})
		},
	}
	flags.add(cmd, "the new list is empty or locks you out")
	return cmd
}

// changeAllowlist reads the list, changes it and writes it back. If the list was
// changed by someone else in between, it starts again.
func changeAllowlist(ctx context.Context, a *app, flags *allowFlags, change func([]client.AllowEntry) ([]client.AllowEntry, error)) error {
	s, err := a.dial()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		v, err := s.api.GetAllowlist(ctx)
		if err != nil {
			return err
		}
		list, err := change(v.Entries)
		if err != nil {
			return err
		}
		if list == nil {
			list = []client.AllowEntry{}
		}
		err = runIn(ctx, s, call{
			method: http.MethodPut, path: allowlistPath, query: flags.query(),
			body: client.Allowlist{Entries: list}, ifMatch: v.ETag,
		}, showAllowlist)
		var f *fault.Error
		if errors.As(err, &f) && f.Code == fault.PreconditionFailed && try < allowTries {
			continue
		}
		return err
	}
}

// sameRange reports whether two spellings denote the same addresses.
func sameRange(a, b string) bool {
	p, err := iprange.Parse(a)
	q, err2 := iprange.Parse(b)
	if err != nil || err2 != nil {
		return a == b
	}
	return p == q
}
