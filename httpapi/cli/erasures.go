package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/store/chain"
)

const erasuresPath = "/v1/account/erasures"

func erasurePath(id, call string) string { return erasuresPath + "/" + url.PathEscape(id) + call }

func erasuresCommand(a *app) *cobra.Command {
	return group("erasures", "Erase the data that is stored about an account",
		erasuresCreate(a), erasuresList(a), erasuresGet(a), erasuresCancel(a), erasuresVerify(a))
}

func erasuresCreate(a *app) *cobra.Command {
	var everything, now bool
	cmd := &cobra.Command{
		Use: "create ACCOUNT_ID", Short: "Schedule the erasure of an account's data", Args: cobra.ExactArgs(1),
		Long: `Schedule the erasure of the data that is stored about an account: audit events, usage,
failed requests, habits, deliveries, sessions and addresses, on every node. It takes
place 24 hours later and can be cancelled until then. With --everything, the keys and
users of the account and the account itself end, too. ACCOUNT_ID confirms the account,
which is that of --account.`,
		Example: "  perfgate erasures create acct_2x… --account acct_2x… --everything",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"confirm": args[0], "everything": everything, "now": now}
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: "/v1/account/data", body: body}, showErasure)
		},
	}
	cmd.Flags().BoolVar(&everything, "everything", false, "end keys, users and the account, too")
	cmd.Flags().BoolVar(&now, "now", false, "do not wait 24 hours (operators only)")
	return cmd
}

func erasuresList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List erasures, the newest first", Args: cobra.NoArgs,
		Example: "  perfgate erasures list --account acct_2x…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: erasuresPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "ACCOUNT", "STATE", "EVERYTHING", "EFFECTIVE", "DONE"}, func(t *table, v *client.Erasure) {
				t.row(v.ID, v.Account, v.State, strconv.FormatBool(v.Everything), minute(&v.EffectiveAt), first(minute(v.DoneAt), "-"))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func erasuresGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an erasure; with --json, its signed receipt", Args: cobra.ExactArgs(1),
		Example: "  perfgate erasures get ers_2x… --json > receipt.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: erasurePath(args[0], "")}, showErasure)
		},
	}
}

func erasuresCancel(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "Cancel an erasure that is still scheduled", Args: cobra.ExactArgs(1),
		Example: "  perfgate erasures cancel ers_9k… --account acct_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: erasurePath(args[0], "/cancel")}, showErasure)
		},
	}
}

func showErasure(a *app, v *client.Erasure) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("account", v.Account)
	t.row("everything", strconv.FormatBool(v.Everything))
	t.row("state", v.State)
	t.row("requested", minute(&v.RequestedAt)+" by "+v.RequestedBy.ID)
	t.row("effective", minute(&v.EffectiveAt))
	t.field("cancelled", minute(v.CancelledAt))
	t.field("erased", minute(v.ErasedAt))
	t.field("done", minute(v.DoneAt))
	for _, n := range v.Nodes {
		text := n.Name + ", " + minute(&n.At)
		if n.OldKeys {
			text += "; restart it to end its older data keys"
		}
		if n.Count > 0 {
			text += fmt.Sprintf("; %d backups still hold the data", n.Count)
		}
		t.row("node", text)
	}
	return t.flush()
}

// maxReceipt bounds a file with a receipt, in bytes.
const maxReceipt = 4 << 20

// savedReceipt is the answer that holds a receipt, or the receipt alone.
type savedReceipt struct {
	Receipt   *savedReceipt   `json:"receipt"`
	Statement json.RawMessage `json:"statement"`
	Signature struct {
		Key   string `json:"key"`
		Value []byte `json:"value"`
	} `json:"signature"`
	Keys []chain.Key `json:"keys"`
}

func erasuresVerify(a *app) *cobra.Command {
	var heads, key string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Verify the receipt of an erasure, offline", Args: cobra.ExactArgs(1),
		Long: `Verify the receipt of an erasure ("erasures get ID --json"; "-" is stdin). Needs no
server. Without --head or --key, the receipt proves only that it fits the keys in it.`,
		Example: "  perfgate erasures verify receipt.json --head heads.jsonl",
		RunE: func(_ *cobra.Command, args []string) error {
			in, _, err := a.input(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			raw, err := io.ReadAll(io.LimitReader(in, maxReceipt))
			if err != nil {
				return err
			}
			var kept []chain.HeadFile
			if heads != "" {
				if kept, err = readHeads(heads); err != nil {
					return err
				}
			}
			text, err := checkReceipt(raw, kept, key)
			if err != nil {
				return fmt.Errorf("the receipt: %w", err)
			}
			_, err = fmt.Fprintln(a.Stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&heads, "head", "", "`file` with heads that were kept elsewhere")
	cmd.Flags().StringVar(&key, "key", "", "trust only the signing key with this `ID`")
	return cmd
}

// checkReceipt verifies a receipt and says what it proves.
func checkReceipt(raw []byte, kept []chain.HeadFile, key string) (string, error) {
	r := new(savedReceipt)
	if err := json.Unmarshal(raw, r); err != nil {
		return "", err
	}
	if r.Receipt != nil {
		r = r.Receipt
	}
	if len(r.Statement) == 0 {
		return "", errors.New("there is none: the erasure is not done, or the file is another one")
	}
	keys := chain.Keys{}
	for _, f := range kept {
		for i := range f.Keys {
			if err := keys.Add(&f.Keys[i]); err != nil {
				return "", err
			}
		}
	}
	for i := range r.Keys {
		if k := &r.Keys[i]; key == k.ID || key == "" && len(kept) == 0 {
			if err := keys.Add(k); err != nil {
				return "", err
			}
		}
	}
	if err := keys.Follow(r.Keys); err != nil {
		return "", err
	}
	text := bytes.NewBufferString(chain.ReceiptFormat)
	if err := json.Compact(text, r.Statement); err != nil {
		return "", err
	}
	if err := keys.CheckText(r.Signature.Key, text.Bytes(), r.Signature.Value); err != nil {
		return "", err
	}
	var s struct {
		Cluster string         `json:"cluster_id"`
		Erasure client.Erasure `json:"erasure"`
	}
	if err := json.Unmarshal(r.Statement, &s); err != nil {
		return "", err
	}
	what, e := "the data", &s.Erasure
	if e.Everything {
		what = "the data, keys and users"
	}
	return fmt.Sprintf("The receipt is genuine: cluster %s erased %s of account %s (%s, asked for by %s %s at %s), done on %d nodes at %s. Signed by %s.",
		s.Cluster, what, e.Account, e.ID, e.RequestedBy.Type, e.RequestedBy.ID, minute(&e.RequestedAt), len(e.Nodes), minute(e.DoneAt), r.Signature.Key), nil
}
