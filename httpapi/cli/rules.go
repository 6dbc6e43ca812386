package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

// ruleFlag adds the flag that setRules reads.
func ruleFlag(fs *pflag.FlagSet) {
	fs.String("limit-rules", "", "`file` with all limit rules as a JSON array, - for stdin, or "+none+" to remove them")
}

// setRules puts the limit rules of the flag into body. They are sent as they are: the
// server names every fault.
func setRules(a *app, cmd *cobra.Command, body client.Patch) error {
	if !cmd.Flags().Changed("limit-rules") {
		return nil
	}
	path := cmd.Flag("limit-rules").Value.String()
	if path == none {
		body["limit_rules"] = []client.LimitRule{}
		return nil
	}
	text, err := a.readRules(path)
	if err != nil {
		return err
	}
	var rules []json.RawMessage
	if err := json.Unmarshal(text, &rules); err != nil {
		return usagef("--limit-rules %s: must be a JSON array of rules, such as [{\"name\":\"chat\",\"per\":\"key\",\"requests\":600,\"window\":\"1h\"}]: %v", path, err)
	}
	body["limit_rules"] = json.RawMessage(text)
	return nil
}

func (a *app) readRules(path string) ([]byte, error) {
	r, _, err := a.input(path)
	if err != nil {
		return nil, fmt.Errorf("read the limit rules: %w", err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxSmallFile))
	if err != nil {
		return nil, fmt.Errorf("read the limit rules: %w", err)
	}
	return text, nil
}

// showRules adds a line for each rule.
func showRules(t *table, rules []client.LimitRule) {
	for i := range rules {
		t.row("rule "+rules[i].Name, ruleText(&rules[i]))
	}
}

// ruleText formats a rule for a table.
func ruleText(r *client.LimitRule) string {
	text := strconv.FormatInt(r.Requests, 10) + " per " + r.Window
	if r.Burst != nil {
		text += ", burst " + strconv.FormatInt(*r.Burst, 10)
	}
	text += ", for each " + r.Per
	for _, m := range []struct {
		name  string
		value *string
	}{{"type", r.Match.Type}, {"environment", r.Match.Environment}, {"route", r.Match.Route}} {
		if m.value != nil {
			text += fmt.Sprintf(", %s %q", m.name, *m.value)
		}
	}
	if r.Shadow {
		text += ", shadow"
	}
	if r.Until != nil {
		text += ", until " + minute(r.Until)
	}
	return text
}

func keysLimits(a *app) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use: "limits [ID]...", Short: "Show every limit and rule of keys, and what is left of each", Args: cobra.MaximumNArgs(100),
		Example: "  perfgate keys limits key_2x…\n  perfgate keys limits key_2x… key_3y…\n  perfgate keys limits --type live",
		Long:    "Show every limit and rule that applies to a key, or to each of up to 100, and what is left\nof each. Without ID, those of the calling key or, for an operator, of the account are\nshown.",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if len(args) > 0 {
				if err := checkKeyIDs(args); err != nil {
					return err
				}
				q.Set("key", strings.Join(args, ","))
			}
			if kind != "" {
				q.Set("type", kind)
			}
			c := call{method: http.MethodGet, path: "/v1/limits", query: q}
			return run(cmd.Context(), a, c, func(a *app, v *client.List[client.Policy]) error {
				head := []string{"POLICY", "LIMIT", "WINDOW", "REMAINING", "RESET"}
				if len(args) > 1 {
					head = append([]string{"KEY"}, head...)
				}
				t := newTable(a.Stdout, head...)
				for _, p := range v.Data {
					reset := time.Unix(p.Reset, 0)
					name := p.Policy
					if p.Shadow {
						name += " (shadow)"
					}
					row := []string{name, p.Limit.String(), p.Window, p.Remaining.String(), minute(&reset)}
					if len(args) > 1 {
						row = append([]string{p.KeyID}, row...)
					}
					t.row(row...)
				}
				return t.flush()
			})
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "`type` of the keys, test or live, where an operator asks about the account (default live)")
	return cmd
}

func limitsCommand(a *app) *cobra.Command {
	return group("limits", "Try limits out on recorded traffic", limitsSimulate(a))
}

func limitsSimulate(a *app) *cobra.Command {
	var rule string
	var rpm, burst int64
	cmd := &cobra.Command{
		Use: "simulate", Short: "Show the requests that a proposed limit would have refused", Args: cobra.NoArgs,
		Long: `Run a proposed limit per minute, or a limit rule, over the traffic that the server has
recorded, and show the requests that it would have refused and the lowest limit that
refuses none. The figures are bounds: the notes say what the record cannot show.`,
		Example: "  perfgate limits simulate --account acct_1 --rpm 120 --from 7d\n  perfgate limits simulate --rule rule.json --type live",
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := client.Patch{}
			for name, v := range query(cmd, "type", "key") {
				body[name] = v[0]
			}
			if cmd.Flags().Changed("rpm") {
				body["requests_per_minute"] = rpm
			}
			if cmd.Flags().Changed("burst") {
				body["burst"] = burst
			}
			if rule != "" {
				text, err := a.readRules(rule)
				if err != nil {
					return err
				}
				if !json.Valid(text) {
					return usagef("--rule %s: must be a limit rule in JSON", rule)
				}
				body["rule"] = json.RawMessage(text)
			}
			if (rule == "") != cmd.Flags().Changed("rpm") {
				return usagef("give either --rpm or --rule")
			}
			for name, v := range query(cmd, "from", "to") {
				t, err := readTime(v[0])
				if err != nil {
					return err
				}
				body[name] = t
			}
			return run(cmd.Context(), a, call{method: http.MethodPost, path: "/v1/limits/simulate", body: body}, showSimulation)
		},
	}
	fs := cmd.Flags()
	fs.Int64Var(&rpm, "rpm", 0, "proposed `number` of requests per minute")
	fs.Int64Var(&burst, "burst", 0, "`number` of requests at once (default: requests per minute)")
	fs.StringVar(&rule, "rule", "", "`file` with a proposed limit rule in JSON, or - for stdin")
	pointFlag(fs, "from", "first `time` (default: all that is kept)")
	pointFlag(fs, "to", "last `time` (default: now)")
	fs.String("type", "", "only keys of this `type`: test or live")
	fs.String("key", "", "only the key with this `ID`")
	return cmd
}

func showSimulation(a *app, v *client.Simulation) error {
	t := newTable(a.Stdout)
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	t.row("traffic", num(v.Requests)+" units from "+minute(&v.From)+" to "+minute(&v.To)+", in steps of "+v.Resolution)
	t.row("limit", num(v.Limit)+" per "+v.Window)
	t.row("would refuse", fmt.Sprintf("%d if spread over each step, %d if all at once", v.WouldRefuse.Even, v.WouldRefuse.AtOnce))
	t.row("lowest limit", fmt.Sprintf("%d if spread over each step, %d in any case", v.LowestLimit.Even, v.LowestLimit.Certain))
	if err := t.flush(); err != nil {
		return err
	}
	if len(v.FirstRefusals) > 0 {
		fmt.Fprintln(a.Stdout)
		t := newTable(a.Stdout, "TIME", "UNITS", "WOULD REFUSE", "KEY")
		for i := range v.FirstRefusals {
			r := &v.FirstRefusals[i]
			t.row(minute(&r.Time), num(r.Requests), num(r.WouldRefuse), text(r.Key))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	for _, n := range v.Notes {
		fmt.Fprintln(a.Stderr, "note: "+n)
	}
	return nil
}
