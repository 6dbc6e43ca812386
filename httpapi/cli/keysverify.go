package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/perfgate/perfgate/httpapi/client"
)

func (a *app) keysVerify() *cobra.Command {
	var ip, method, path string
	var units int64
	var consume bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether a key would be admitted; reads it from stdin",
		Long: `Reads one key from stdin and gives the verdict that a request with it would get. The exit code is 1 if it would be refused.
Nothing is charged unless --consume is given.`,
		Example: `  printf %s "$KEY" | perfgate keys verify --method POST --path /v1/chat`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := a.readSecret("Key: ")
			if err != nil {
				return err
			}
			body := map[string]any{"key": secret, "consume": consume}
			for name, v := range query(cmd, "ip", "method", "path") {
				body[name] = v[0]
			}
			if cmd.Flags().Changed("units") {
				body["units"] = units
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			raw, err := s.call(cmd.Context(), ask{method: http.MethodPost, path: "/v1/keys/verify", body: body})
			if err != nil {
				return err
			}
			return a.showVerdict(raw)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&ip, "ip", "", "address that the request would come from")
	fs.StringVar(&method, "method", "", "its method")
	fs.StringVar(&path, "path", "", "its path")
	fs.Int64Var(&units, "units", 0, "units that it would cost")
	fs.BoolVar(&consume, "consume", false, "charge the key for it")
	return cmd
}

func (a *app) showVerdict(raw []byte) error {
	var v client.Verdict
	if err := decode(raw, &v); err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(raw); err != nil {
			return err
		}
	} else {
		t := newTable(a.Stdout)
		t.row("valid", fmt.Sprint(v.Valid))
		for _, line := range []struct {
			name string
			v    *string
		}{{"code", v.Code}, {"key", v.KeyID}, {"account", v.Account}} {
			if line.v != nil {
				t.row(line.name, *line.v)
			}
		}
		if len(v.Scopes) > 0 {
			t.row("scopes", strings.Join(v.Scopes, " "))
		}
		if v.RetryAfter != nil && *v.RetryAfter > 0 {
			t.row("retry after", fmt.Sprintf("%d s", *v.RetryAfter))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if !v.Valid {
		return exitError(1)
	}
	return nil
}

// maxSecret bounds a secret from stdin, in bytes.
const maxSecret = 4096

// readSecret reads one line from stdin, without showing it on a terminal.
func (a *app) readSecret(prompt string) (string, error) {
	var line string
	if f, ok := a.Stdin.(*os.File); ok && terminal(f) {
		fmt.Fprint(a.Stderr, prompt)
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.Stderr)
		if err != nil {
			return "", fmt.Errorf("read stdin: %w", err)
		}
		line = string(raw)
	} else {
		var err error
		line, err = bufio.NewReader(io.LimitReader(a.Stdin, maxSecret)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read stdin: %w", err)
		}
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("stdin is empty; want the key there")
	}
	return line, nil
}
