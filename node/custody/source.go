package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/keyring"
	"github.com/perfgate/perfgate/store/pack"
)

// The kinds of sources of the KEK.
const (
	FromFile    = "file"
	FromEnv     = "environment"
	FromCommand = "command"
)

// Names of settings, for errors.
const (
	keyFileSetting    = "encryption.key_file"
	keyCommandSetting = "encryption.key_command"
)

// Bounds of a source: bytes of a key with white space, and the time of a command.
const (
	maxKeyText     = 4 << 10
	commandTimeout = 30 * time.Second
)

// NextSuffix ends the name of a key file that replaces the one without it.
const NextSuffix = ".new"

// source is where the KEK comes from.
type source struct {
	fs     vfs.FS
	cfg    *config.Config
	kind   string
	path   string // of a file
	beside bool   // the file is in the data directory
}

func newSource(fsys vfs.FS, c *config.Config) (*source, error) {
	e := &c.Encryption
	s := &source{fs: fsys, cfg: c, kind: FromFile, path: e.KeyFile}
	given := 0
	for kind, text := range map[string]string{FromFile: e.KeyFile, FromEnv: e.Key, FromCommand: e.KeyCommand} {
		if text != "" {
			given++
			s.kind = kind
		}
	}
	if given > 1 {
		return nil, c.Fault(keyFileSetting, "the key is given more than once; use one of encryption.key_file, encryption.key_command and "+config.EncryptionKeyEnv)
	}
	if s.path == "" {
		s.path = fsys.PathJoin(c.Node.DataDir, datadir.EncryptionKeyFile)
	}
	dir, err1 := filepath.Abs(c.Node.DataDir)
	file, err2 := filepath.Abs(s.path)
	s.beside = s.kind == FromFile && errors.Join(err1, err2) == nil && strings.HasPrefix(file, dir+string(filepath.Separator))
	return s, nil
}

// own reports whether the key file is the default one, which the node makes.
func (s *source) own() bool { return s.kind == FromFile && s.cfg.Encryption.KeyFile == "" }

// fault is an error about the setting that the key comes from.
func (s *source) fault(reason string) error {
	switch s.kind {
	case FromEnv:
		return &config.UsageError{Source: config.EncryptionKeyEnv, Reason: reason}
	case FromCommand:
		return s.cfg.Fault(keyCommandSetting, reason)
	}
	if s.own() {
		return &config.UsageError{Source: s.path, Reason: reason}
	}
	return s.cfg.Fault(keyFileSetting, reason)
}

// read reads the KEK, and another one that the keyring may still need or need already.
// found is false if the key file does not exist.
func (s *source) read(ctx context.Context) (kek keyring.Key, others []keyring.Key, found bool, err error) {
	var text []byte
	switch s.kind {
	case FromEnv:
		text = []byte(s.cfg.Encryption.Key)
		if old := s.cfg.Encryption.PreviousKey; old != "" {
			k, err := keyring.ParseKey([]byte(old))
			if err != nil {
				return kek, nil, false, &config.UsageError{Source: config.PreviousKeyEnv, Reason: err.Error()}
			}
			others = append(others, k)
		}
	case FromCommand:
		if text, err = run(ctx, s.cfg.Encryption.KeyCommand); err != nil {
			return kek, nil, false, err
		}
	default:
		if k, err := s.file(s.path + NextSuffix); err == nil {
			others = append(others, k)
		}
		kek, err := s.file(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			return kek, others, false, nil
		}
		if err != nil {
			err = s.fault(datadir.Reason(err).Error())
		}
		return kek, others, true, err
	}
	if kek, err = keyring.ParseKey(text); err != nil {
		err = s.fault(err.Error())
	}
	return kek, others, true, err
}

// file reads a key file.
func (s *source) file(path string) (k keyring.Key, err error) {
	f, err := s.fs.Open(path)
	if err != nil {
		return k, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyText))
	if err := errors.Join(err, f.Close()); err != nil {
		return k, err
	}
	return keyring.ParseKey(text)
}

// write makes a key file durable, mode 0600.
func (s *source) write(path string, k *keyring.Key) error {
	if err := pack.WriteFile(s.fs, path, []byte(k.Text()+"\n")); err != nil {
		return fmt.Errorf("write the key file %q: %w", path, err)
	}
	return nil
}

// adopt gives the next key file its name.
func (s *source) adopt() error {
	err := s.fs.Rename(s.path+NextSuffix, s.path)
	if err == nil {
		err = pack.SyncDir(s.fs, s.fs.PathDir(s.path))
	}
	if err != nil {
		return fmt.Errorf("replace the key file %q by the new one: %w", s.path, err)
	}
	return nil
}

// run executes the command with a shell and returns its output. Its errors do not repeat
// the output, which may be a key.
func run(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command) //nolint:gosec // the operator's own command
	cmd.WaitDelay = time.Second
	var complaint bytes.Buffer
	cmd.Stderr = &limited{&complaint, maxKeyText}
	out := &limited{new(bytes.Buffer), maxKeyText}
	cmd.Stdout = out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %s", commandTimeout)
	}
	if err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		if line != "" {
			line = ": " + line
		}
		return nil, fmt.Errorf("run encryption.key_command for the key of the data: %w%s; start the node again once the command works", err, line)
	}
	return out.w.Bytes(), nil
}

// limited drops what a command writes beyond a bound.
type limited struct {
	w    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.w.Write(p[:n])
	return len(p), nil
}
