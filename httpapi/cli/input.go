package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

// runsHere marks a command that runs in this process; see [local].
const runsHere = "local"

// refuseEmpty refuses arguments and texts of flags that are empty, as they are when a
// script's variable is not set: an empty filter would match everything, and an empty file
// name would leave a backup unencrypted. The configuration of a node has rules of its own.
// An empty cursor is the first page, and what a shell completes may be empty so far.
func refuseEmpty(cmd *cobra.Command, args []string) error {
	if cmd.Annotations[runsHere] != "" || cmd.Name() == cobra.ShellCompRequestCmd {
		return nil
	}
	if slices.ContainsFunc(args, blank) {
		return usagef("an argument is empty; see %s --help", cmd.CommandPath())
	}
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Name != "cursor" && empty(f.Value) {
			err = usagef(`--%s "": the value is empty; give one, or leave the flag out`, f.Name)
		}
	})
	return err
}

func empty(v pflag.Value) bool {
	switch v.Type() {
	case "string":
		return blank(v.String())
	case "stringSlice":
		list := v.(pflag.SliceValue).GetSlice()
		return len(list) == 0 || slices.ContainsFunc(list, blank)
	}
	return false // the others cannot be read from an empty text
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

const maxSecret = 4096 // bytes of a secret from stdin

// readSecret reads a key, the only line of stdin. On a terminal it prompts, and the input
// is not echoed.
func (a *app) readSecret(prompt string) (string, error) {
	var text string
	if f, ok := a.Stdin.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(a.Stderr, prompt)
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.Stderr)
		if err != nil {
			return "", fmt.Errorf("read stdin: %w", err)
		}
		text = string(raw)
	} else {
		raw, err := io.ReadAll(bufio.NewReader(io.LimitReader(a.Stdin, maxSecret+1)))
		if err != nil {
			return "", fmt.Errorf("read stdin: %w", err)
		}
		text = string(raw)
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(text, "\uFEFF"), "\n") // some shells put a byte order mark before what they pipe
	switch first = strings.TrimSpace(first); {
	case apikey.Parse(first) != apikey.Native && apikey.Holds(first):
		// Sent as it is it would be unknown, which reads as if the key in it did not work.
		return "", errors.New("the line on stdin has more than the key: give the key alone; nothing was sent")
	case first == "":
		return "", errors.New("no key on stdin: pipe the key in, or type it at the prompt")
	case !blank(rest):
		return "", errors.New("there is more than one line on stdin: give one key at a time; nothing was sent")
	case len(text) > maxSecret:
		return "", fmt.Errorf("the key on stdin is longer than %d bytes; nothing was sent", maxSecret)
	}
	return first, nil
}
