package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// sample is a valid value for every setting that has a flag, other than its
// default, as a command line has it.
var sample = map[string]string{
	"name": "n1", "data-dir": "/srv/data", "region": "eu",
	"proxy-listen": ":1", "upstream": "http://a", "trusted-proxies": "10.0.0.0/8,::1", "demo": "true",
	"admin-listen":   ":2",
	"cluster-listen": ":3", "cluster-advertise": "a:3", "join": "a:3,b:3", "expect": "2",
	"log-level": "debug", "log-format": "json",
}

// needs are the arguments without which a sample is refused.
var needs = map[string][]string{
	"cluster-advertise": {"--cluster-listen", ":3"},
	"join":              {"--cluster-listen", ":3"},
	"expect":            {"--cluster-listen", ":3", "--join", "a:3"},
}

// Every flag has its environment variable; both set the same value, and the flag
// wins.
func TestFlagsAndEnvironment(t *testing.T) {
	const secret = "PERFGATE_CLUSTER_SECRET=" + "0123456789abcdef0123456789abcdef"
	d := mustLoad(t, nil)
	for _, s := range settings {
		if s.flag == "" {
			continue
		}
		value, ok := sample[s.flag]
		if !ok {
			t.Errorf("this test has no value for --%s", s.flag)
			continue
		}
		byFlag := mustLoad(t, append([]string{"--" + s.flag + "=" + value}, needs[s.flag]...), secret)
		byEnv := mustLoad(t, needs[s.flag], secret, s.env()+"="+value)
		both := mustLoad(t, append([]string{"--" + s.flag + "=" + value}, needs[s.flag]...), secret, s.env()+"=")
		for how, c := range map[string]*Config{"flag": byFlag, "variable": byEnv, "flag over an empty variable": both} {
			if reflect.DeepEqual(c.source.raw[s.key], d.source.raw[s.key]) {
				t.Errorf("%s: the %s has no effect", s.key, how)
			}
		}
		if !reflect.DeepEqual(byFlag.source.raw[s.key], byEnv.source.raw[s.key]) {
			t.Errorf("%s: the flag sets %#v, the variable %#v", s.key, byFlag.source.raw[s.key], byEnv.source.raw[s.key])
		}
		if f, e := byFlag.source.of[s.key], byEnv.source.of[s.key]; f != "--"+s.flag || e != s.env() {
			t.Errorf("%s comes from %q and %q, want --%s and %s", s.key, f, e, s.flag, s.env())
		}
	}
}

// The help is one line for each flag, with the default.
func TestHelp(t *testing.T) {
	help := Flags().FlagUsages()
	for _, s := range settings {
		if s.flag != "" && (!strings.Contains(help, "--"+s.flag+" ") || s.usage == "" || !strings.Contains(help, s.usage)) {
			t.Errorf("--%s is not in the help: %s", s.flag, help)
		}
		if s.flag == "" && s.usage != "" {
			t.Errorf("%s has help and no flag", s.key)
		}
	}
	for _, want := range []string{
		`(default "./perfgate-data")`, `(default ":8080")`, `(default 1)`,
		"CIDRs of proxies trusted to report the client's address, separated by commas",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("the help lacks %q: %s", want, help)
		}
	}
}

func TestFlagError(t *testing.T) {
	if err := FlagError(nil); err != nil {
		t.Errorf("no error becomes %v", err)
	}
	if err := FlagError(fmt.Errorf("x: %w", pflag.ErrHelp)); !errors.Is(err, pflag.ErrHelp) || configtest.ExitCode(err) != 1 {
		t.Errorf("help becomes %v", err)
	}
	for arg, want := range map[string]string{
		"--demo=maybe":   `--demo: proxy.demo = "maybe": must be true or false`,
		"--expect=1.5":   `--expect: cluster.expect = "1.5": must be a whole number`,
		"--nonsense":     "unknown flag: --nonsense; --help lists the flags",
		"-n":             "unknown shorthand flag: 'n' in -n; --help lists the flags",
		"--expect":       "flag needs an argument: --expect; --help lists the flags",
		"serve":          `argument "serve": only flags are accepted`,
		"--proxy-listen": "flag needs an argument: --proxy-listen; --help lists the flags",
	} {
		_, err := Load([]string{arg}, configtest.Environ())
		if configtest.ExitCode(err) != 2 || err.Error() != want {
			t.Errorf("%s: %v, want %s", arg, err, want)
		}
	}
}

// Lists come the same way from the file, a flag and a variable.
func TestLists(t *testing.T) {
	path := configtest.File(t, "[proxy]\ntrusted_proxies = [\"192.0.2.1\", \"10.0.0.0/8\"]")
	want := mustLoad(t, []string{"--config", path}).Proxy.TrustedProxies
	if len(want) != 2 {
		t.Fatalf("%v", want)
	}
	for how, c := range map[string]*Config{
		"flag":       mustLoad(t, []string{"--trusted-proxies=192.0.2.1, 10.0.0.0/8"}),
		"two flags":  mustLoad(t, []string{"--trusted-proxies=192.0.2.1", "--trusted-proxies", "10.0.0.0/8"}),
		"variable":   mustLoad(t, nil, "PERFGATE_TRUSTED_PROXIES= 192.0.2.1 ,10.0.0.0/8"),
		"over flags": mustLoad(t, []string{"--config", path, "--trusted-proxies=192.0.2.1,10.0.0.0/8"}),
	} {
		if !reflect.DeepEqual(c.Proxy.TrustedProxies, want) {
			t.Errorf("%s: %v, want %v", how, c.Proxy.TrustedProxies, want)
		}
	}
}
