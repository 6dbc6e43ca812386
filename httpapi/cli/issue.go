package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
)

// secretFlags say where the secret of an answer goes. It is shown once, so that no way
// may lose it.
type secretFlags struct {
	what  string // of the secret, such as "key"
	quiet bool
	out   string
}

func (f *secretFlags) add(fs *pflag.FlagSet, what string) {
	f.what = what
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print only the "+what)
	fs.StringVar(&f.out, "out", "", "`file` to write the "+what+" to instead of showing it; only you can read it, and an earlier file is replaced")
}

// issue makes a call whose answer holds a secret, and puts it where the flags say. secretOf
// returns the member of the answer.
func issue[T any](ctx context.Context, a *app, c call, f *secretFlags, secretOf func(*T) **string, show show[T]) error {
	if f.quiet && a.json {
		return usagef("--quiet and --json exclude each other; give one of them")
	}
	if info, err := os.Stat(f.out); f.out != "" && err == nil && !info.Mode().IsRegular() {
		return usagef("--out %s: is no file", f.out)
	}
	var raw json.RawMessage
	v := new(T)
	made, failed := false, error(nil) // the call
	do := func(w io.Writer) error {
		raw, failed = a.once(ctx, c)
		if failed == nil {
			failed = decode(raw, v)
		}
		if failed != nil {
			return failed
		}
		made = true
		secret := *secretOf(v)
		if secret == nil {
			return fmt.Errorf("the answer holds no %s: it was shown when this call was first made", f.what)
		}
		_, err := fmt.Fprintln(w, *secret)
		return err
	}
	if f.out == "" {
		var b bytes.Buffer
		if err := do(&b); err != nil && !made {
			return err
		} else if f.quiet && err == nil {
			_, err = a.Stdout.Write(b.Bytes())
			return err
		}
		return showIssued(a, raw, v, f, *secretOf(v), show)
	}
	// The file is made before the call and named after it: a directory that cannot be
	// written is found while nothing is lost, and a full disk shows the secret instead.
	err := replaceFile(f.out, do, nil)
	switch {
	case failed != nil:
		return failed
	case err != nil && !made:
		return fmt.Errorf("--out: %w", err)
	case err != nil:
		return errors.Join(fmt.Errorf("write %s: %w", f.out, err), showIssued(a, raw, v, f, *secretOf(v), show))
	case f.quiet:
		return nil
	case a.json:
		return a.printJSON(withhold(raw, **secretOf(v)))
	}
	written := "written to " + f.out
	*secretOf(v) = &written
	return show(a, v)
}

// withhold replaces a text of an answer by null, whichever way the server writes it.
func withhold(raw []byte, secret string) []byte {
	for _, escape := range []bool{false, true} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(escape)
		if e.Encode(secret) == nil {
			raw = bytes.ReplaceAll(raw, bytes.TrimSpace(b.Bytes()), []byte("null"))
		}
	}
	return raw
}

// once makes one call in a session of its own.
func (a *app) once(ctx context.Context, c call) (json.RawMessage, error) {
	s, err := a.dial()
	if err != nil {
		return nil, err
	}
	return s.raw(ctx, c)
}

// showIssued prints an answer with its secret, and reminds people to copy it.
func showIssued[T any](a *app, raw []byte, v *T, f *secretFlags, secret *string, show show[T]) error {
	if a.json {
		return a.printJSON(raw)
	}
	if err := show(a, v); err != nil {
		return err
	}
	if secret != nil {
		fmt.Fprintf(a.Stderr, "Copy the %s now: it is not shown again.\n", f.what)
	} else {
		fmt.Fprintf(a.Stderr, "The %s was shown when this call was first made, and is not shown again.\n", f.what)
	}
	return nil
}
