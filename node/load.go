package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	koanftoml "github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	koanfenv "github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// Getenv looks one environment variable up, as [os.LookupEnv] does.
type Getenv = func(name string) (value string, ok bool)

// maxFile bounds the configuration file, in bytes.
const maxFile = 4 << 20

// source remembers where a configuration's values came from.
type source struct {
	file          string
	of            map[string]string // key: file, environment variable or "--flag"; no entry is a default
	raw           map[string]any    // every key as written, for errors and for comparing two configurations
	env           Getenv
	operatorToken string
}

// Load reads the configuration that args (without the program's and the
// command's name) and env describe: defaults < file < environment < flags.
// Every fault found is in the error, each a [*UsageError]. Nothing outside the
// configuration file is read: see [Config.Check].
func Load(args []string, env Getenv) (*Config, error) {
	fs := Flags()
	if err := fs.Parse(args); err != nil {
		return nil, FlagError(err)
	}
	return LoadFlags(fs, env)
}

// LoadFlags is [Load] with flags that are parsed already.
func LoadFlags(fs *pflag.FlagSet, env Getenv) (*Config, error) {
	if fs.NArg() > 0 {
		return nil, &UsageError{Source: fmt.Sprintf("argument %q", fs.Arg(0)), Want: "no arguments are taken besides flags"}
	}
	l := loader{k: koanf.New("."), of: map[string]string{}}
	l.defaults()
	path := l.path(fs, env)
	l.file(path)
	l.environment(env)
	l.flags(fs)
	if err := errors.Join(l.faults...); err != nil {
		return nil, err
	}

	c := &Config{source: source{file: path, of: l.of, raw: l.k.All(), env: env}}
	err := l.k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  decodeHook,
	}})
	if err != nil {
		return nil, &UsageError{Source: path, Want: err.Error()} // the layers were checked: only a name with a dot in it comes here
	}
	c.secrets(env, &l)
	c.resolve()
	c.validate(&l)
	if len(l.faults) == 0 {
		if _, err := c.Routes(""); err != nil {
			l.faults = append(l.faults, err)
		}
	}
	if err := errors.Join(l.faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// FlagError turns what pflag says about an argument into a [*UsageError]; it
// leaves [pflag.ErrHelp] alone.
func FlagError(err error) error {
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		name := invalid.GetFlag().Name
		for _, s := range settings() {
			if s.flag == name {
				want := map[string]string{"bool": "want true or false", "int64": "want a whole number"}[invalid.GetFlag().Value.Type()]
				return &UsageError{Source: "--" + name, Key: s.key, Value: show(invalid.GetValue()), Want: want}
			}
		}
	}
	return &UsageError{Want: err.Error() + "; --help lists the flags"}
}

// loader merges the layers and gathers what is wrong in each.
type loader struct {
	k      *koanf.Koanf
	of     map[string]string
	faults []error
}

func (l *loader) fault(source, key string, value any, want string) {
	e := &UsageError{Source: source, Key: key, Want: want}
	if value != nil {
		e.Value = show(value)
	}
	l.faults = append(l.faults, e)
}

// layer checks the names and types of everything in k and lays it over what is
// there; from names the source of a key.
func (l *loader) layer(k *koanf.Koanf, from func(key string) string) {
	l.check(k.Raw(), reflect.TypeFor[Config](), "", from)
	for key := range k.All() {
		if s := from(key); s != "" {
			l.of[key] = s
		}
	}
	if err := l.k.Merge(k); err != nil {
		l.faults = append(l.faults, err)
	}
}

func (l *loader) defaults() {
	values := map[string]any{}
	for _, s := range settings() {
		values[s.key] = s.value
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
		l.faults = append(l.faults, err)
	}
	l.layer(k, func(string) string { return "" })
}

// path finds the configuration file's name: the flag wins over the environment.
func (l *loader) path(fs *pflag.FlagSet, env Getenv) string {
	if f := fs.Lookup(configFlag); f != nil && f.Changed {
		if f.Value.String() == "" {
			l.fault("--"+configFlag, "", nil, "want the path of a configuration file")
		}
		return f.Value.String()
	}
	path, _ := env(configEnv)
	return path
}

func (l *loader) file(path string) {
	if path == "" {
		return
	}
	info, err := os.Stat(path)
	if err == nil {
		switch {
		case info.IsDir():
			err = errors.New("it is a directory")
		case info.Size() > maxFile:
			err = fmt.Errorf("it is larger than %s", Size(maxFile))
		}
	}
	if err != nil {
		l.fault(path, "", nil, "read the configuration file: "+reason(err))
		return
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), koanftoml.Parser()); err != nil {
		want := reason(err)
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, column := syntax.Position()
			want = fmt.Sprintf("line %d, column %d: %s", line, column, strings.TrimPrefix(syntax.Error(), "toml: "))
		}
		l.fault(path, "", nil, want)
		return
	}
	l.layer(k, func(string) string { return path })
}

// environment lays the known variables over the file. Unknown names pass:
// Kubernetes puts PERFGATE_PORT=tcp://… next to a service of that name. An empty
// variable counts as not set, as compose files leave it.
func (l *loader) environment(env Getenv) {
	byName, environ := map[string]setting{}, []string{}
	for _, s := range settings() {
		if v, ok := env(s.env()); s.flag != "" && ok && v != "" {
			byName[s.env()] = s
			environ = append(environ, s.env()+"="+v)
		}
	}
	names := map[string]string{}
	k := koanf.New(".")
	err := k.Load(koanfenv.Provider(".", koanfenv.Opt{
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			s := byName[name]
			v, want := s.parseText(text)
			if want != "" {
				l.fault(name, s.key, text, want)
				return "", nil
			}
			names[s.key] = name
			return s.key, v
		},
	}), nil)
	if err != nil {
		l.faults = append(l.faults, err)
	}
	l.layer(k, func(key string) string { return names[key] })
}

func (l *loader) flags(fs *pflag.FlagSet) {
	byFlag, names := map[string]setting{}, map[string]string{}
	for _, s := range settings() {
		if s.flag != "" {
			byFlag[s.flag] = s
		}
	}
	k := koanf.New(".")
	err := k.Load(posflag.ProviderWithFlag(fs, ".", nil, func(f *pflag.Flag) (string, any) {
		s, ok := byFlag[f.Name]
		if !ok || !f.Changed {
			return "", nil
		}
		names[s.key] = "--" + f.Name
		v := posflag.FlagVal(fs, f)
		if list, ok := v.([]string); ok {
			all := make([]any, 0, len(list))
			for _, e := range list {
				all = append(all, strings.TrimSpace(e))
			}
			v = all
		}
		return s.key, v
	}), nil)
	if err != nil {
		l.faults = append(l.faults, err)
	}
	l.layer(k, func(key string) string { return names[key] })
}

// reason is err without the path that the sentence around it names already.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// readSmall reads a file of at most max bytes.
func readSmall(path string, max int64) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(raw)) > max {
		err = fmt.Errorf("it is larger than %s", Size(max))
	}
	return raw, err
}
