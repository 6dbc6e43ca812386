package cli

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The bounds of a completion: a shell waits for it at the Tab key.
const (
	completeTimeout = 2 * time.Second
	maxCompletions  = 200 // rows that are asked for
)

// thing is one row of any list of the API, by the members that complete an argument.
type thing struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
	URL   string `json:"url"`
	Title string `json:"title"`
	Owner string `json:"owner"`
	State string `json:"state"`
	Type  string `json:"type"`
	CIDR  string `json:"cidr"`
	Note  string `json:"note"`
}

// things are the answers that completions are read from.
type things struct {
	Data    []thing `json:"data"`
	Entries []thing `json:"entries"` // of the allowlist
	Nodes   []thing `json:"nodes"`   // of the cluster
}

// source is a call whose answer completes arguments of one kind.
type source struct {
	path   string
	filter string             // parameter that narrows the list to what was typed, if there is one
	keep   func(t thing) bool // nil: all
}

var (
	someKeys     = source{path: keysPath, filter: "q"}
	livingKeys   = source{path: keysPath, filter: "q", keep: func(t thing) bool { return t.State != "revoked" }}
	someAccounts = source{path: accountsPath}
	someTiers    = source{path: "/v1/tiers"}
	someUsers    = source{path: usersPath}
	someTokens   = source{path: tokensPath}
	someWebhooks = source{path: webhooksPath}
	incidents    = source{path: incidentsPath}
	openIncident = source{path: incidentsPath, keep: func(t thing) bool { return t.State == "open" }}
	someErasures = source{path: erasuresPath}
	openErasures = source{path: erasuresPath, keep: func(t thing) bool { return t.State == "scheduled" }}
	someSessions = source{path: "/v1/sessions"}
	clusterNodes = source{path: "/v1/cluster"}
	allowedCIDRs = source{path: allowlistPath}
)

// argumentsOf says what completes the arguments of a command, and how many of them.
var argumentsOf = map[string]struct {
	from source
	most int // 0: any number
}{
	"keys get": {someKeys, 1}, "keys update": {livingKeys, 1}, "keys rotate": {livingKeys, 1}, "keys revoke": {livingKeys, 0},
	"keys limits": {someKeys, 0}, "keys usage": {someKeys, 1},
	"allowlist remove": {allowedCIDRs, 0},
	"accounts get":     {someAccounts, 1}, "accounts update": {someAccounts, 1}, "accounts suspend": {someAccounts, 1},
	"accounts resume": {someAccounts, 1}, "accounts delete": {someAccounts, 1},
	"tiers get": {someTiers, 1}, "tiers update": {someTiers, 1}, "tiers delete": {someTiers, 1},
	"users get": {someUsers, 1}, "users update": {someUsers, 1}, "users disable": {someUsers, 1}, "users reset": {someUsers, 1}, "users delete": {someUsers, 1},
	"users link": {someAccounts, 1}, "users sessions end": {someSessions, 1},
	"tokens delete": {someTokens, 1},
	"webhooks get":  {someWebhooks, 1}, "webhooks update": {someWebhooks, 1}, "webhooks delete": {someWebhooks, 1}, "webhooks rotate-secret": {someWebhooks, 1},
	"webhooks test": {someWebhooks, 1}, "webhooks deliveries": {someWebhooks, 1}, "webhooks redeliver": {someWebhooks, 1},
	"incident get": {incidents, 1}, "incident close": {openIncident, 1}, "incident report": {incidents, 1},
	"erasures create": {someAccounts, 1}, "erasures get": {someErasures, 1}, "erasures cancel": {openErasures, 1},
	"cluster transfer": {clusterNodes, 1}, "cluster remove": {clusterNodes, 1},
}

// flagsFrom are the flags whose values the server knows.
var flagsFrom = map[string]source{
	"account": someAccounts, "key": someKeys, "tier": someTiers, "user": someUsers, "created-by": someUsers,
}

// valuesOf are the values of flags that take a few, by the command where they differ.
var valuesOf = map[string][]string{
	"type":                      {"live", "test"},
	"keys list state":           {"active", "disabled", "rotating", "revoked", "expired"},
	"keys update state":         {"active", "disabled"},
	"users update state":        {"active", "disabled"},
	"webhooks deliveries state": {"pending", "delivered", "failed"},
	"sort":                      {"created_at", "-created_at", "last_used_at", "-last_used_at", "name", "-name", "expires_at", "-expires_at"},
	"scope":                     {"read", "write", "verify", "limit", "admin"},
	"role":                      {"owner", "admin", "developer", "viewer", "operator"},
	"step":                      {"minute", "hour", "day"},
	"group-by":                  {"key", "status", "country", "route", "method", "type", "environment"},
	"method":                    {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other"},
	"event-type":                {"create", "read", "update", "delete"},
	"outcome":                   {"success", "denied", "error"},
	"order":                     {"asc", "desc"},
	"audit export format":       {"json", "ndjson", "csv"},
	"incident open action":      {"none", "revoke", "rotate"},
	"browser-keys":              {"allow", "alert", "block"},
	"keys rotate overlap":       {"0s", "15m", "1h", "24h", "7d", "until_unused"},
	"event": {
		"usage.threshold", "rate_limit.exceeded", "key.created", "key.rotated", "key.revoked", "key.expiring", "key.rotation_due",
		"key.exposed", "auth.failures", "key.anomaly", "allowlist.updated", "incident.opened",
	},
}

func completionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "completion SHELL", Short: "Print the script with which a shell completes commands and ids", Annotations: map[string]string{runsHere: "true"}, Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Long: `Print a script for bash, zsh, fish or powershell. The shell then completes commands,
flags and their values, and ids, for which it asks the server. Bash needs the package
bash-completion.`,
		Example: "  perfgate completion bash > /etc/bash_completion.d/perfgate\n  perfgate completion fish > ~/.config/fish/completions/perfgate.fish",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.Stdout)
			case "fish":
				return root.GenFishCompletion(a.Stdout, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.Stdout)
			}
		},
	}
	cmd.SetUsageTemplate(localUsage)
	return cmd
}

// addCompletions lets the shell complete ids, names and values of flags. Where nothing
// completes an argument, it completes no file either, unless the argument is one.
func addCompletions(root *cobra.Command, a *app) {
	for _, cmd := range leavesOf(root) {
		if cmd.Annotations[runsHere] != "" {
			continue
		}
		name := strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")
		if from, ok := argumentsOf[name]; ok {
			cmd.ValidArgsFunction = a.completeArgs(from.from, from.most)
		} else if cmd.ValidArgs == nil && !strings.Contains(cmd.Use, "FILE") && !strings.Contains(cmd.Use, "PATH") {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { a.completeFlag(cmd, name, f) })
	}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { a.completeFlag(root, "", f) })
}

// leavesOf returns the commands below cmd that run.
func leavesOf(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	if cmd.Runnable() && cmd.Annotations["group"] == "" {
		out = append(out, cmd)
	}
	for _, sub := range cmd.Commands() {
		out = append(out, leavesOf(sub)...)
	}
	return out
}

func (a *app) completeFlag(cmd *cobra.Command, name string, f *pflag.Flag) {
	complete := cobra.CompletionFunc(nil)
	if values, ok := valuesOf[strings.TrimSpace(name+" "+f.Name)]; ok {
		complete = cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	} else if values, ok := valuesOf[f.Name]; ok {
		complete = cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	} else if from, ok := flagsFrom[f.Name]; ok {
		complete = a.completeArgs(from, 0)
	} else if kind, _ := pflag.UnquoteUsage(f); kind != "file" && kind != "directory" {
		complete = cobra.NoFileCompletions
	}
	if complete != nil {
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails for a flag that has one, or that the command lacks
	}
}

// completeArgs completes up to most arguments (0: any number) with what the server lists.
// A server that does not answer completes nothing.
func (a *app) completeArgs(from source, most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		found, err := a.find(ctx, from, typed)
		if err != nil {
			cobra.CompDebugln(masked(err.Error()), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, t := range found {
			value := first(t.ID, t.CIDR, t.Name)
			if strings.HasPrefix(value, typed) && (from.keep == nil || from.keep(t)) && !slices.Contains(args, value) {
				out = append(out, cobra.CompletionWithDesc(printable(value), printable(t.describe(value))))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// describe tells people what the thing with a value is.
func (t *thing) describe(value string) string {
	name := first(t.Name, t.Email, t.URL, t.Title, t.Note, t.Owner)
	if name == value {
		name = ""
	}
	return strings.Join(strings.Fields(name+" "+t.Type+" "+t.State), " ")
}

// find asks for one page of what could be meant by typed.
func (a *app) find(ctx context.Context, from source, typed string) ([]thing, error) {
	a.Stderr = nopBar{} // a warning would be written into the line that is typed
	s, err := a.dial()
	if err != nil {
		return nil, err
	}
	s.api.Explain = nil
	c := call{method: http.MethodGet, path: from.path, query: url.Values{}}
	switch from.path {
	case "/v1/cluster", allowlistPath: // are no pages
	default:
		c.query.Set("limit", strconv.Itoa(maxCompletions))
	}
	if from.filter != "" && typed != "" {
		c.query.Set(from.filter, typed)
	}
	raw, err := s.raw(ctx, c)
	if err != nil {
		return nil, err
	}
	var v things
	if err := decode(raw, &v); err != nil {
		return nil, err
	}
	return append(append(v.Data, v.Entries...), v.Nodes...), nil
}
