package cli

import (
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// steps are the commands that help with each code: KEY, IP, URL, METHOD and PATH stand
// for those of the event. A code without a command is explained by its sentence.
var steps = map[fault.Code]string{
	fault.NotFound:             "perfgate check-config",
	fault.MissingKey:           "perfgate keys verify --method METHOD --path PATH",
	fault.MalformedKey:         "perfgate keys list",
	fault.InvalidKey:           "perfgate keys list",
	fault.KeyRevoked:           "perfgate audit list --key KEY --action key.revoke",
	fault.KeyExpired:           "perfgate keys update KEY --expires-in 30d",
	fault.InvalidCredentials:   "perfgate users list",
	fault.SecondFactorRequired: "perfgate users list",
	fault.InvalidSession:       "perfgate users sessions list",

	fault.KeyDisabled: "perfgate keys update KEY --state active",
	fault.KeyExposed:  "perfgate keys rotate KEY",

	fault.AccountSuspended:  "perfgate accounts list",
	fault.IPNotAllowed:      "perfgate allowlist add IP",
	fault.InsufficientScope: "perfgate keys get KEY",
	fault.RouteNotAllowed:   "perfgate keys get KEY",
	fault.CostAboveLimit:    "perfgate keys get KEY",
	fault.BudgetExceeded:    "perfgate usage --key KEY --step day",
	fault.RequestsPerMinute: "perfgate usage --key KEY --step minute",
	fault.RequestsPerMonth:  "perfgate usage --step day",
	fault.LimitRule:         "perfgate keys limits KEY",
	fault.TooManyInFlight:   "perfgate keys get KEY",
	fault.TooManyFailures:   "perfgate audit list --outcome denied",

	fault.UpstreamUnreachable: "curl -v URL",
	fault.UpstreamTimeout:     "curl -v URL",

	fault.NodeIsolated:   "perfgate cluster status",
	fault.NoLeader:       "perfgate cluster status",
	fault.UnknownOutcome: "perfgate cluster status",
	fault.Unavailable:    "perfgate cluster status",
	fault.TooBusy:        "perfgate cluster status",

	fault.WouldLoseQuorum: "perfgate cluster status",
}

// nextStep is the command to run next, or "".
func nextStep(e *client.Event) string {
	step := steps[fault.Code(e.Reason)]
	if e.Action != requestAction && fault.Code(e.Reason) == fault.NotFound {
		step = "" // not a route, but an object of the call
	}
	if step == "" && e.Reason == "" && e.Action == requestAction && e.Request.Status >= 400 && e.Request.Upstream != "" {
		step = "curl -v URL"
	}
	for name, value := range map[string]string{"KEY": e.KeyID, "IP": e.IP, "URL": urlOf(e), "METHOD": e.Request.Method, "PATH": e.Request.Path} {
		if !strings.Contains(step, " "+name) {
			continue
		}
		if value == "" {
			return ""
		}
		step = strings.ReplaceAll(step, " "+name, " "+shellWord(value))
	}
	if e.Account != "" && e.Account != defaultAccount && strings.HasPrefix(step, "perfgate ") &&
		!strings.HasPrefix(step, "perfgate cluster") && !strings.HasPrefix(step, "perfgate check-config") {
		step += " --account " + shellWord(e.Account)
	}
	return step
}

// defaultAccount is the account that commands act on by default.
const defaultAccount = "default"

// urlOf is the URL that the upstream got, unless the route changes the path.
func urlOf(e *client.Event) string {
	if e.Request.Upstream == "" {
		return ""
	}
	return strings.TrimSuffix(strings.Replace(e.Request.Upstream, "h2c://", "http://", 1), "/") + e.Request.Path
}

// shellWord quotes s for a shell where it must be quoted: paths are other people's
// text, and the line is meant to be pasted.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' || strings.ContainsRune("._-/:[]@%+,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
