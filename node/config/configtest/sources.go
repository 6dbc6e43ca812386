package configtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Environ is an environment of pairs NAME=VALUE, and nothing else.
func Environ(pairs ...string) func(name string) (value string, ok bool) {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v, true
			}
		}
		return "", false
	}
}

// File puts text into a file named perfgate.toml and returns its path.
func File(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perfgate.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// MustLoad is load of arguments in an environment of pairs; an error ends the test.
func MustLoad[C any](t testing.TB, load func([]string, func(string) (string, bool)) (C, error), args []string, pairs ...string) C {
	t.Helper()
	c, err := load(args, Environ(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ExitCode is the code that the process ends with for err.
func ExitCode(err error) int {
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return 1
}
