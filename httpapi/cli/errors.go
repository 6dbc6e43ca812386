package cli

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	// exitUnhealthy is that of cluster status: the answer is there, and is a bad one.
	exitUnhealthy = 2
)

// usageError reports a command line that cannot be carried out as written.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return exitUsage }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitError ends the process with a code and without a message.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
func (e exitError) ExitCode() int { return int(e) }

// describe returns the message of err for people. A fault of the server within
// it is shown as its sentence and its code.
func describe(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		var cert *tls.CertificateVerificationError
		if errors.As(err, &cert) {
			return err.Error() + "; give the server's certificate or its authority's with --ca-file, or accept any with --insecure-skip-verify"
		}
		return err.Error()
	}
	s := f.Sentence() + " (" + string(f.Code) + ")"
	if f.RetryAfter > 0 {
		s += fmt.Sprintf("; try again in %d s", f.RetryAfter)
	}
	return strings.Replace(err.Error(), f.Error(), printable(s), 1)
}

// errorJSON returns err as the API writes an error: the server's own, with its code and
// the places of its faults, if there is one within it.
func errorJSON(err error) string {
	var doc struct {
		Error struct {
			Type       string         `json:"type"`
			Code       fault.Code     `json:"code"`
			Message    string         `json:"message"`
			Param      string         `json:"param,omitempty"`
			Errors     []fault.Detail `json:"errors,omitempty"`
			RetryAfter int64          `json:"retry_after,omitempty"`
		} `json:"error"`
	}
	e := &doc.Error
	e.Type, e.Code, e.Message = "command_error", "failed", err.Error()
	var usage *usageError
	if errors.As(err, &usage) {
		e.Code = "usage"
	}
	var f *fault.Error
	if errors.As(err, &f) && !f.Foreign() {
		e.Type, e.Code, e.Param, e.Errors, e.RetryAfter = f.Code.Type(), f.Code, f.Param, f.Errors, f.RetryAfter
		e.Message = strings.Replace(err.Error(), f.Error(), f.Sentence(), 1)
	}
	out, failed := json.Marshal(doc)
	if failed != nil {
		return `{"error":{"type":"command_error","code":"failed","message":"the error cannot be written as JSON"}}`
	}
	return apikey.Mask(string(out))
}

// noSubcommand reports the arguments of a command that needs a subcommand.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // edits
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		err = fmt.Errorf("%w (did you mean %q?)", err, similar[0])
	}
	return err
}

// wrapArgs turns cobra's complaints about arguments into usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%w; see %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}
