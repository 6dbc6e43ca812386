package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func keysVerify(a *app) *cobra.Command {
	var ip, method, host, path string
	var units int64
	var consume bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check whether a key from stdin would be admitted", Args: cobra.NoArgs,
		Long: `Read one key from stdin and show whether the proxy would admit a request with it. The
exit code is 1 if not. Nothing is charged unless --consume is given.`,
		Example: `  printf %s "$KEY" | perfgate keys verify --method POST --path /v1/chat`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := a.readSecret("Key: ")
			if err != nil {
				return err
			}
			body := map[string]any{"key": secret, "consume": consume}
			for name, v := range query(cmd, "ip", "method", "host", "path") {
				body[name] = v[0]
			}
			if cmd.Flags().Changed("units") {
				body["units"] = units
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			raw, err := s.raw(cmd.Context(), call{method: http.MethodPost, path: keysPath + "/verify", body: body})
			if err != nil {
				return err
			}
			return showVerdict(a, raw)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&ip, "ip", "", "client `address` of the request")
	fs.StringVar(&method, "method", "", "`method` of the request")
	fs.StringVar(&host, "host", "", "`host` of the request, where routes have hosts")
	fs.StringVar(&path, "path", "", "`path` of the request")
	fs.Int64Var(&units, "units", 0, "`units` that the request costs")
	fs.BoolVar(&consume, "consume", false, "charge the key for the request")
	return cmd
}

// showVerdict prints a verdict. Its exit code does not depend on --json.
func showVerdict(a *app, raw []byte) error {
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
		t.field("code", text(v.Code))
		t.field("key", text(v.KeyID))
		t.field("account", text(v.Account))
		t.field("scopes", strings.Join(v.Scopes, " "))
		if v.RetryAfter != nil && *v.RetryAfter > 0 {
			t.row("retry after", fmt.Sprintf("%d s", *v.RetryAfter))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if !v.Valid {
		return exitError(exitFailure)
	}
	return nil
}
