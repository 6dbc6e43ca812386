package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	koanftoml "github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	koanfenv "github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/datadir"
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
	lines         lines             // of the file
	faulty        []string          // keys with a fault, whose value is the default
	env           Getenv
	operatorToken string
}

// line is the line of place, within the value of key, if that comes from the file.
func (s *source) line(key, place string) int {
	if s.of[key] != s.file {
		return 0
	}
	return s.lines.of(place)
}

// Load reads the configuration that args (without the program's and the
// command's name) and env describe: defaults < file < environment < flags.
// Every fault found is in the error, each a [*UsageError]. Nothing outside the
// configuration file is read, and the routes are not compiled.
func Load(args []string, env Getenv) (*Config, error) {
	fs := Flags()
	if err := fs.Parse(args); err != nil {
		return nil, FlagError(err)
	}
	return LoadFlags(fs, env)
}

// LoadFlags is [Load] with flags that are parsed already.
func LoadFlags(fs *pflag.FlagSet, env Getenv) (*Config, error) {
	c, err := Inspect(fs, env)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Inspect is [LoadFlags] for a caller that looks for more faults: it returns the
// configuration in spite of an error, without the values that are faulty. It is nil
// where nothing can be said about the rest, such as for a file that is no TOML.
func Inspect(fs *pflag.FlagSet, env Getenv) (*Config, error) {
	if fs.NArg() > 0 {
		return nil, &UsageError{Source: fmt.Sprintf("argument %q", fs.Arg(0)), Reason: "only flags are accepted"}
	}
	l := loader{k: koanf.New("."), of: map[string]string{}}
	l.defaults()
	path := l.path(fs, env)
	l.file(path)
	l.environment(env)
	l.flags(fs)
	if l.unread {
		return nil, errors.Join(l.faults...)
	}

	c := &Config{source: source{file: path, of: l.of, raw: l.k.All(), lines: l.lines, env: env}}
	c.source.raw[regionsKey] = l.k.Get(regionsKey) // All has its entries alone
	err := l.k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  decodeHook,
	}})
	if err != nil {
		// The layers were checked: only a name with a dot in it gets here.
		l.faults = append(l.faults, &UsageError{Source: path, Reason: err.Error()})
		return nil, errors.Join(l.faults...)
	}
	c.secrets(env, &l)
	c.resolve()
	validator{c, &l}.all()
	c.source.faulty = l.faulty
	return c, errors.Join(l.faults...)
}

// loader merges the layers and gathers the faults of each.
type loader struct {
	k      *koanf.Koanf      // the layers so far
	of     map[string]string // see source.of
	named  string            // path of the file; "" is none
	lines  lines             // of the file
	unread bool              // the file cannot be read: nothing is known of its values
	faults []error
	faulty []string // keys of faults
}

func (l *loader) fault(source, key string, value any, reason string) {
	e := &UsageError{Source: source, Key: key, Reason: reason}
	if value != nil {
		e.Value = show(value)
	}
	if source == l.named && source != "" {
		e.Line = l.lines.of(key)
	}
	if key != "" {
		l.faulty = append(l.faulty, key)
	}
	l.faults = append(l.faults, e)
}

// layer checks the names and types of all values and lays it over the layers
// so far, all but the faulty values; from names the source of a key.
func (l *loader) layer(values map[string]any, from func(key string) string) {
	sound, _ := l.check(values, reflect.TypeFor[Config](), "", from)
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(sound.(map[string]any), ""), nil); err != nil {
		l.faults = append(l.faults, err)
	}
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
	for _, s := range settings {
		values[s.key] = s.value
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
		l.faults = append(l.faults, err)
	}
	l.layer(k.Raw(), func(string) string { return "" })
}

// path finds the name of the configuration file: the flag wins over the environment.
func (l *loader) path(fs *pflag.FlagSet, env Getenv) string {
	if f := fs.Lookup(configFlag); f != nil && f.Changed {
		if f.Value.String() == "" {
			l.fault("--"+configFlag, "", nil, "must be the path of a configuration file")
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
	var doc []byte
	if err == nil {
		doc, err = os.ReadFile(path)
	}
	l.named = path
	if err != nil {
		l.unread = true
		l.fault(path, "", nil, "read the configuration file: "+datadir.Reason(err).Error())
		return
	}
	if err := encodingFault(doc); err != nil {
		l.unread = true
		l.fault(path, "", nil, err.Error())
		return
	}
	text, marked := bytes.CutPrefix(doc, byteOrderMark)
	if doc = text; marked {
		l.fault(path, "", nil, "line 1: it begins with a byte order mark (BOM)"+saveUTF8)
	}
	values, err := koanftoml.Parser().Unmarshal(doc)
	if err != nil {
		l.unread = true
		l.fault(path, "", nil, tomlFault(doc, err))
		return
	}
	l.lines = parseLines(doc)
	l.layer(values, func(string) string { return path })
}

// tomlFault describes the error of the decoder about doc, with its line.
func tomlFault(doc []byte, err error) string {
	reason := strings.TrimPrefix(err.Error(), "toml: ")
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		line, column := syntax.Position()
		return fmt.Sprintf("line %d, column %d: %s", line, column, reason)
	}
	line := meaningFault(doc, func(part []byte) bool {
		_, err := koanftoml.Parser().Unmarshal(part)
		return err == nil
	})
	if strings.Contains(reason, "already") {
		reason += "; write it once"
	}
	if line == 0 {
		return reason
	}
	return fmt.Sprintf("line %d: %s", line, reason)
}

// environment lays the known variables over the file. Unknown names pass: see
// [UnknownVariables]. An empty variable counts as not set, as compose files leave it.
func (l *loader) environment(env Getenv) {
	byName, environ := map[string]setting{}, []string{}
	for _, s := range settings {
		if v, ok := env(s.env()); s.env() != "" && ok && v != "" {
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
			v, reason := s.parseText(text)
			if reason != "" {
				l.fault(name, s.key, text, reason)
				return "", nil
			}
			names[s.key] = name
			return s.key, v
		},
	}), nil)
	if err != nil {
		l.faults = append(l.faults, err)
	}
	l.layer(k.Raw(), func(key string) string { return names[key] })
}

func (l *loader) flags(fs *pflag.FlagSet) {
	byFlag, names := map[string]setting{}, map[string]string{}
	for _, s := range settings {
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
	l.layer(k.Raw(), func(key string) string { return names[key] })
}

// ForDataDir returns a configuration that has the data directory alone, from the
// flag or the environment, and the source of the key of the data in it, from the
// environment, for commands that run while no node does.
func ForDataDir(fs *pflag.FlagSet, env Getenv) *Config {
	c := &Config{}
	c.source.raw, c.source.of = map[string]any{}, map[string]string{}
	for _, s := range settings {
		if s.key != dataDir && s.key != keyFile && s.key != keyCommand {
			continue
		}
		text, source := s.value.(string), ""
		if v, ok := env(s.env()); ok && v != "" {
			text, source = v, s.env()
		}
		if s.flag != "" {
			if v, _ := fs.GetString(s.flag); v != "" {
				text, source = v, "--"+s.flag
			}
		}
		c.source.raw[s.key] = text
		if source != "" {
			c.source.of[s.key] = source
		}
		switch s.key {
		case dataDir:
			c.Node.DataDir = filepath.Clean(text)
		case keyFile:
			c.Encryption.KeyFile = text
		case keyCommand:
			c.Encryption.KeyCommand = text
		}
	}
	c.encryptionKeys(env)
	return c
}
