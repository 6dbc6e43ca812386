package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

const (
	allowlistPath = "/v1/allowlist"
	maxAllowFile  = 8 << 20 // bytes, as the API's
	allowTries    = 5       // of changing a list that others change too
)

func (a *app) allowlistCommand() *cobra.Command {
	return group("allowlist", "Addresses from which the account's keys may be used",
		a.allowlistGet(), a.allowlistSet(), a.allowlistAdd(), a.allowlistRemove())
}

func (a *app) allowlistGet() *cobra.Command {
	return &cobra.Command{
		Use: "get", Short: "Show the list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodGet, path: allowlistPath}, a.showAllowlist)
		},
	}
}

func (a *app) showAllowlist(raw []byte) error {
	var v client.Allowlist
	if err := decode(raw, &v); err != nil {
		return err
	}
	if len(v.Entries) == 0 {
		fmt.Fprintln(a.Stderr, "The list is empty: every address is allowed.")
	}
	t := newTable(a.Stdout, "CIDR", "NOTE")
	for _, e := range v.Entries {
		t.row(e.CIDR, e.Note)
	}
	if v.Revocation != nil {
		fmt.Fprintln(a.Stderr, "The change is", became(v.Revocation))
	}
	return t.flush()
}

func forced(force bool) url.Values {
	if !force {
		return nil
	}
	return url.Values{"force": {"true"}}
}

func (a *app) allowlistSet() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "set [FILE]",
		Short: "Replace the list by the lines of FILE, or of stdin",
		Long:  "Reads an address or CIDR range a line; what follows a # is its note. No line at all allows every address.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 1 {
				path = args[0]
			}
			in, size, err := a.input(path)
			if err != nil {
				return fmt.Errorf("read the list: %w", err)
			}
			defer in.Close()
			if size > maxAllowFile {
				return fmt.Errorf("read the list: %q is larger than %d bytes", path, maxAllowFile)
			}
			return a.run(cmd.Context(), ask{
				method: http.MethodPut, path: allowlistPath, query: forced(force),
				body: io.LimitReader(in, maxAllowFile+1), kind: "text/plain",
			}, a.showAllowlist)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if it shuts out who makes the change")
	return cmd
}

func (a *app) allowlistAdd() *cobra.Command {
	var note string
	var force bool
	cmd := &cobra.Command{
		Use: "add CIDR…", Short: "Add entries", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeAllowlist(cmd.Context(), force, func(list []client.AllowEntry) ([]client.AllowEntry, error) {
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
	cmd.Flags().StringVar(&note, "note", "", "what they are")
	cmd.Flags().BoolVar(&force, "force", false, "even if the new list shuts out who makes the change")
	return cmd
}

func (a *app) allowlistRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove CIDR…", Short: "Remove entries", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeAllowlist(cmd.Context(), force, func(list []client.AllowEntry) ([]client.AllowEntry, error) {
				for _, cidr := range args {
					n := len(list)
					list = slices.DeleteFunc(list, func(e client.AllowEntry) bool { return sameRange(e.CIDR, cidr) })
					if len(list) == n {
						return nil, fmt.Errorf("%s is not on the list", oneLine(cidr))
					}
				}
				if len(list) == 0 && !force {
					return nil, errors.New("the list would be empty, which allows every address; repeat with --force if that is meant")
				}
				return list, nil
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if the list gets empty or shuts out who makes the change")
	return cmd
}

// changeAllowlist reads the list, changes it and writes it back, unless somebody
// else has done so in between: then it begins again.
func (a *app) changeAllowlist(ctx context.Context, force bool, change func([]client.AllowEntry) ([]client.AllowEntry, error)) error {
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
		err = s.print(ctx, ask{
			method: http.MethodPut, path: allowlistPath, query: forced(force),
			body: client.Allowlist{Entries: list}, match: v.ETag,
		}, a.showAllowlist)
		var f *fault.Error
		if errors.As(err, &f) && f.Code == fault.PreconditionFailed && try < allowTries {
			continue
		}
		return err
	}
}

// sameRange tells whether two spellings mean the same addresses.
func sameRange(a, b string) bool {
	p, err := readRange(a)
	q, err2 := readRange(b)
	if err != nil || err2 != nil {
		return a == b
	}
	return p == q
}

func readRange(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), err
}
