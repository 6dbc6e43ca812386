package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/pflag"
)

// The environment variables of a client.
const (
	serverEnv  = "PERFGATE_SERVER"
	tokenEnv   = "PERFGATE_TOKEN"
	dataDirEnv = "PERFGATE_DATA_DIR"
	adminEnv   = "PERFGATE_ADMIN_LISTEN" // of a node in the same environment, as in its container
)

const maxSmallFile = 1 << 20 // bytes of a token, certificate or passphrase file

// app is one run of the command line: its surroundings and the global flags.
// It is set up before a command runs and not changed by two goroutines.
type app struct {
	Config
	server   string
	token    string
	account  string
	caFile   string
	dataDir  string
	insecure bool
	json     bool
}

func (a *app) flags(fs *pflag.FlagSet) {
	fs.StringVar(&a.server, "server", "", "`URL` of the admin API ("+serverEnv+"; default "+defaultServer+")")
	fs.StringVar(&a.token, "token", "", "operator `token` or admin key; visible to other users of this machine, so prefer "+tokenEnv)
	fs.StringVar(&a.account, "account", "", "`ID` of the account to act on (default \"default\")")
	fs.StringVar(&a.caFile, "ca-file", "", "PEM `file` with the CA certificate, or the self-signed certificate, of the server")
	fs.StringVar(&a.dataDir, "data-dir", "", "data `directory` of a node on this machine, to read its operator token ("+dataDirEnv+"; default ./"+defaultDataDir+")")
	fs.BoolVar(&a.insecure, "insecure-skip-verify", false, "accept any certificate from the server")
	fs.BoolVar(&a.json, "json", false, "print the API's JSON instead of a table")
}

func (a *app) env(name string) string {
	v, _ := a.Env(name)
	return v
}

// first returns the first value that is not empty.
func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// fileArg returns the file named by the only argument, or "-" for stdin or
// stdout.
func fileArg(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	return args[0]
}

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmallFile))
}

// input opens the file that a command reads; "-" is stdin. size is in bytes, -1
// if unknown.
func (a *app) input(path string) (r io.ReadCloser, size int64, err error) {
	if path == "-" {
		return io.NopCloser(a.Stdin), -1, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

// replaceFile lets write fill a new file beside path, syncs it, lets check read
// it back, and only then gives it the name path. After an error, path is as it
// was before. Errors are not wrapped with an operation.
func replaceFile(path string, write func(io.Writer) error, check func(tmp string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if check != nil {
		if err := check(f.Name()); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// isTerminal reports whether f is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// confirm asks a question on stderr and reads the answer from stdin: only y and yes
// agree.
func (a *app) confirm(question string) bool {
	fmt.Fprint(a.Stderr, "perfgate: "+masked(question)+" [y/N] ")
	line, _ := bufio.NewReader(io.LimitReader(a.Stdin, 64)).ReadString('\n')
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// progress shows a progress bar on stderr, if that is a terminal. The bar counts
// the bytes written to the result, of size in all (-1: unknown).
func (a *app) progress(name string, size int64) io.WriteCloser {
	if !isTerminal(a.Stderr) {
		return nopBar{}
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetDescription(name), progressbar.OptionSetWriter(a.Stderr),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

// nopBar is the progress bar where there is no terminal.
type nopBar struct{}

func (nopBar) Write(b []byte) (int, error) { return len(b), nil }
func (nopBar) Close() error                { return nil }
