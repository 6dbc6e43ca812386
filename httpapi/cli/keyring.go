package cli

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// keyringPoll is how often rotate-data asks how far the rotation is.
const keyringPoll = 200 * time.Millisecond

func keyringCommand(a *app) *cobra.Command {
	return group("keyring", "Show and rotate the keys of a node's encrypted files, and the pepper",
		keyringStatus(a), keyringRotateKEK(a), keyringRotateData(a), keyringRotatePepper(a), keyringFinishPepper(a))
}

func keyringStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the keys of a node and the files that they encrypt", Args: cobra.NoArgs,
		Example: "  perfgate keyring status",
		Long: `Show the keys of the node that is asked, and how many files each encrypts. Each node
has keys of its own. No key is printed. While the pepper of the API keys is rotated,
also show how many of them were not used since.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: "/v1/keyring"}, showKeyring)
		},
	}
}

func keyringRotateKEK(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rotate-kek", Short: "Wrap the data keys of a node with another key", Args: cobra.NoArgs,
		Example: "  perfgate keyring rotate-kek",
		Long: `Wrap the data keys of the node that is asked with another key. No file is encrypted
again. If encryption.key_file or encryption.key_command gives another key than before,
that one is used. Otherwise the key file gets a new random key. A key in the
environment is replaced by a start with the new key in PERFGATE_ENCRYPTION_KEY and the
old one in PERFGATE_ENCRYPTION_KEY_PREVIOUS.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: "/v1/keyring/rotate-kek"}, showKeyring)
		},
	}
}

func keyringRotateData(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rotate-data", Short: "Encrypt the files of a node with a new key", Args: cobra.NoArgs,
		Example: "  perfgate keyring rotate-data",
		Long: `Make a new data key on the node that is asked and encrypt its files again with it. The
node serves meanwhile. The command ends when the rotation does; if it is interrupted,
the rotation goes on. A file that is open for writing keeps the old key until the next
start of the node.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return rotateData(cmd, a) },
	}
}

func keyringRotatePepper(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rotate-pepper", Short: "Hash the API keys under another pepper", Args: cobra.NoArgs,
		Example: "  perfgate keyring rotate-pepper",
		Long: `Make a new pepper for the hashes of API keys. All keys stay valid: one that is used is
hashed again under the new pepper, and "perfgate keyring status" shows how many were not
used yet. The old pepper is kept for those until "perfgate keyring finish-pepper".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: "/v1/keyring/rotate-pepper"}, showKeyring)
		},
	}
}

func keyringFinishPepper(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "finish-pepper", Short: "Drop the pepper from before the rotation", Args: cobra.NoArgs,
		Example: "  perfgate keyring finish-pepper",
		Long: `Drop the pepper from before "perfgate keyring rotate-pepper". It is refused while keys
need it: those that were not moved yet, and are neither revoked nor expired. With
--force they are revoked. A key moves within a minute of its use.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: "/v1/keyring/finish-pepper", query: forceQuery(force)}, showKeyring)
		},
	}
	forceFlag(cmd, &force, "keys are revoked that were not moved yet")
	return cmd
}

func rotateData(cmd *cobra.Command, a *app) error {
	s, err := a.dial()
	if err != nil {
		return err
	}
	raw, err := s.raw(cmd.Context(), call{method: http.MethodPost, path: "/v1/keyring/rotate-data"})
	if err != nil {
		return err
	}
	v := new(client.Keyring)
	if err := decode(raw, v); err != nil {
		return err
	}
	var bar io.WriteCloser = nopBar{}
	defer func() { bar.Close() }()
	shown := int64(0)
	poll := time.NewTicker(keyringPoll)
	defer poll.Stop()
	for v.Rotation.Running {
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-poll.C:
		}
		if raw, err = s.raw(cmd.Context(), call{method: http.MethodGet, path: "/v1/keyring"}); err != nil {
			return err
		}
		v = new(client.Keyring)
		if err := decode(raw, v); err != nil {
			return err
		}
		if shown == 0 && v.Rotation.TotalBytes > 0 {
			bar = a.progress("encrypting", v.Rotation.TotalBytes)
		}
		n, _ := io.CopyN(bar, zeros{}, max(0, v.Rotation.DoneBytes-shown))
		shown += n
	}
	if s.json {
		return s.printJSON(raw)
	}
	return showKeyring(a, v)
}

func showKeyring(a *app, v *client.Keyring) error {
	t := newTable(a.Stdout)
	t.row("node", v.Node)
	t.row("key", v.KEK)
	source := v.Source
	if v.KeyBesideData {
		source += ", beside the data: protects little"
	}
	t.row("source", source)
	if v.Rotation.Running {
		t.row("rotation", "running: "+strconv.FormatInt(v.Rotation.DoneBytes, 10)+" of "+strconv.FormatInt(v.Rotation.TotalBytes, 10)+" bytes")
	}
	if e := v.Rotation.Error; e != nil {
		t.row("rotation", "failed: "+*e)
	}
	pepper := "generation " + strconv.FormatUint(v.Pepper.Generation, 10)
	if n := v.Pepper.KeysRemaining; n != nil {
		pepper += ", " + strconv.Itoa(*n) + " keys not moved yet"
	}
	t.row("pepper", pepper)
	if v.Revocation != nil {
		t.row("revocation", effect(v.Revocation))
	}
	if err := t.flush(); err != nil {
		return err
	}
	t = newTable(a.Stdout, "DATA KEY", "CREATED", "CURRENT", "FILES", "BYTES")
	for _, k := range v.DataKeys {
		t.row(k.ID, k.CreatedAt.UTC().Format(time.RFC3339), strconv.FormatBool(k.Current), strconv.Itoa(k.Files), strconv.FormatInt(k.Bytes, 10))
	}
	return t.flush()
}

// zeros is an endless reader for a progress bar, which counts what is written to it.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
