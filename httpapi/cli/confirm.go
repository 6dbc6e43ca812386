package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// final is a command that cannot be undone.
type final struct {
	question string                        // with the first argument at %s
	when     func(cmd *cobra.Command) bool // nil: always
}

// finals are the commands that ask on a terminal before they begin. keys revoke asks by
// itself, because it counts the keys first.
var finals = map[string]final{
	"accounts delete":        {question: "Delete the account %s and all its keys for good?"},
	"tiers delete":           {question: "Delete the tier %s for good?"},
	"users delete":           {question: "Delete the user %s for good?"},
	"users disable":          {question: "Disable %s and revoke every key that they made for good?", when: given("revoke-keys", "true")},
	"tokens delete":          {question: "End the operator token %s for good?"},
	"webhooks delete":        {question: "Delete the endpoint %s with its deliveries for good?"},
	"webhooks rotate-secret": {question: "Rotate the secret of %s? The old one ends at once.", when: given("overlap", "0s")},
	"keys rotate":            {question: "Rotate %s? The old key ends at once.", when: given("overlap", "0s")},
	"erasures create":        {question: "Erase the data of the account %s? From the moment that it begins, nothing brings it back."},
	"cluster remove":         {question: "Remove the node %s for good?"},
	"incident open":          {question: "Open %q, which revokes or replaces the affected keys for good?", when: given("action", "revoke", "rotate")},
}

// given reports whether a flag was given with one of the values.
func given(flag string, values ...string) func(*cobra.Command) bool {
	return func(cmd *cobra.Command) bool {
		for _, v := range values {
			if f := cmd.Flag(flag); f.Changed && f.Value.String() == v {
				return true
			}
		}
		return false
	}
}

// addQuestions lets the commands in finals ask on a terminal; --yes answers.
func addQuestions(root *cobra.Command, a *app) {
	for _, cmd := range leavesOf(root) {
		f, ok := finals[strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")]
		if !ok {
			continue
		}
		run, yes := cmd.RunE, cmd.Flags().BoolP("yes", "y", false, "do not ask")
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if f.when == nil || f.when(cmd) {
				if err := a.ask(*yes, fmt.Sprintf(f.question, args[0])); err != nil {
					return err
				}
			}
			return run(cmd, args)
		}
	}
}

// ask asks a question on a terminal, unless yes answers it. Without a terminal nobody can
// be asked, and the command line is the answer.
func (a *app) ask(yes bool, question string) error {
	if !yes && isTerminal(a.Stdin) && isTerminal(a.Stderr) && !a.confirm(question) {
		return errors.New("nothing was changed")
	}
	return nil
}
