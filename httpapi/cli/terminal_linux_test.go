package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo-terminal: screen reads the output
// and writes the keystrokes.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("unlock the pseudo-terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("number of the pseudo-terminal: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// shown closes the terminal and returns the output on it.
func shown(t *testing.T, screen, tty *os.File) string {
	t.Helper()
	tty.Close()
	raw, err := io.ReadAll(screen) // ends with EIO, because no one has the terminal open
	if err != nil && !strings.Contains(err.Error(), "input/output error") {
		t.Fatal(err)
	}
	return string(raw)
}

// A backup is binary: it is not written to a terminal.
func TestBackupToTerminal(t *testing.T) {
	_, tty := openTerminal(t)
	var errs bytes.Buffer
	code := Execute(t.Context(), Config{Stdin: strings.NewReader(""), Stdout: tty, Stderr: &errs, Env: os.LookupEnv}, []string{"backup"})
	if code != 2 || !strings.Contains(errs.String(), "cannot be written to a terminal: name a FILE, or redirect stdout") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// On a terminal, the key is asked for and not echoed.
func TestPrompt(t *testing.T) {
	screen, tty := openTerminal(t)
	a := &app{Config: Config{Stdin: tty, Stderr: tty}}
	type answer struct {
		secret string
		err    error
	}
	read := make(chan answer, 1)
	go func() {
		secret, err := a.readSecret("Key: ")
		read <- answer{secret, err}
	}()
	prompt := make([]byte, len("Key: "))
	if _, err := io.ReadFull(screen, prompt); err != nil || string(prompt) != "Key: " {
		t.Fatalf("the terminal shows %q, %v", prompt, err)
	}
	awaitNoEcho(t, tty)
	if _, err := screen.WriteString("pk_live_typed\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got.err != nil || got.secret != "pk_live_typed" {
		t.Fatalf("%+v", got)
	}
	if out := shown(t, screen, tty); strings.Contains(out, "typed") {
		t.Errorf("the terminal shows %q", out)
	}
}

// awaitNoEcho waits until the terminal does not echo any more.
func awaitNoEcho(t *testing.T, tty *os.File) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the terminal still echoes after a minute")
		}
	}
}

// On a terminal, a long operation shows its progress, and removes it at the end.
func TestProgress(t *testing.T) {
	screen, tty := openTerminal(t)
	a := &app{Config: Config{Stderr: tty}}
	bar := a.progress("backup", 1000)
	for range 10 {
		if n, err := bar.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := bar.Close(); err != nil {
		t.Fatal(err)
	}
	out := shown(t, screen, tty)
	if !strings.Contains(out, "backup") || !strings.Contains(out, "%") {
		t.Errorf("the terminal shows %q", out)
	}
}

// On a terminal a bulk revocation says how many keys it means, and waits for a yes.
func TestRevokeAsks(t *testing.T) {
	answers := map[string]answer{"POST /v1/keys/revoke": {body: `{"matched":3,"revoked":3,"dry_run":false,"ids":["key_1"],"revocation":{"index":1,"effective":true,"took_ms":1,"nodes":[]}}`}}
	for _, c := range []struct {
		typed, flag string
		revokes     bool
	}{{"y\n", "", true}, {"YES\n", "", true}, {"n\n", "", false}, {"\n", "", false}, {"", "--yes", true}} {
		s := start(t, answers)
		screen, tty := openTerminal(t)
		if _, err := io.WriteString(screen, c.typed); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		env := map[string]string{serverEnv: s.URL, tokenEnv: "pgop_token"}
		args := strings.Fields("keys revoke --created-by op_1 " + c.flag)
		code := Execute(t.Context(), Config{Stdin: tty, Stdout: &out, Stderr: tty, Env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}, args)
		if revoked := strings.Contains(s.received(), `"dry_run":false`); revoked != c.revokes || (code == 0) != c.revokes {
			t.Errorf("%q %s: exit code %d after\n%s", c.typed, c.flag, code, s.received())
		}
		if asked := strings.Contains(shown(t, screen, tty), "Revoke 3 keys for good? [y/N]"); asked != (c.flag == "") {
			t.Errorf("%q %s: asked %v", c.typed, c.flag, asked)
		}
	}
}
