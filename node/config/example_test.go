package config

import (
	"os"
	"reflect"
	"strings"
	"testing"

	koanftoml "github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// The example file is the manual: it has every key, each at its default.
func TestExample(t *testing.T) {
	const example = "../../config.example.toml"
	c := mustLoad(t, []string{"--config", example})
	d := mustLoad(t, nil)
	if got := Changed(d, c); len(got) > 0 {
		t.Errorf("the example does not have the default of %v", got)
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(example), koanftoml.Parser()); err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if s.key != "proxy.routes" && !k.Exists(s.key) {
			t.Errorf("the example lacks %s", s.key)
		}
	}
	c.source, d.source = source{}, source{}
	if !reflect.DeepEqual(c, d) {
		t.Errorf("the example loads as\n%+v\nthe defaults are\n%+v", c, d)
	}
}

// The commented route of the example has every key, and loads.
func TestExampleRoute(t *testing.T) {
	raw, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(raw), "# [[proxy.routes]]\n")
	block, _, _ = strings.Cut(block, "\n\n")
	block = strings.ReplaceAll("\n"+block, "\n# ", "\n")
	c := mustLoad(t, []string{"--config", configtest.File(t, "[[proxy.routes]]"+block)}, "UPSTREAM_KEY=secret")
	if len(c.Proxy.Routes) != 1 {
		t.Fatalf("routes %+v", c.Proxy.Routes)
	}
	rt := reflect.TypeFor[Route]()
	for i := range rt.NumField() {
		if name := rt.Field(i).Tag.Get("koanf"); !strings.Contains(block, "\n"+name+" = ") {
			t.Errorf("the example's route lacks %s", name)
		}
	}
}

// Every field of Config has a setting and the other way round.
func TestSettingsMatchConfig(t *testing.T) {
	var walk func(t reflect.Type, key string)
	fields := map[string]bool{}
	walk = func(rt reflect.Type, key string) {
		if rt.Kind() != reflect.Struct || leaf(nil, rt) {
			fields[key] = true
			return
		}
		for i := range rt.NumField() {
			f := rt.Field(i)
			if name := f.Tag.Get("koanf"); f.IsExported() && name != "-" {
				walk(f.Type, strings.TrimPrefix(key+"."+name, "."))
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for _, s := range settings {
		if !fields[s.key] {
			t.Errorf("setting %s has no field", s.key)
		}
		delete(fields, s.key)
	}
	for key := range fields {
		t.Errorf("field %s has no setting", key)
	}
}

// The comments of the example mark the keys that a reload applies, and those of
// features that are still missing.
func TestExampleMarks(t *testing.T) {
	raw, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	comments, table := map[string]string{}, ""
	for line := range strings.Lines(string(raw)) {
		if name, ok := strings.CutPrefix(line, "["); ok {
			table, _, _ = strings.Cut(name, "]")
		}
		if key, comment, ok := strings.Cut(line, "#"); ok {
			if key, _, ok := strings.Cut(key, " = "); ok {
				comments[table+"."+key] = comment
			}
		}
	}
	for _, s := range settings {
		if s.key == routesKey || s.key == regionsKey {
			continue // tables of their own
		}
		comment, ok := comments[s.key]
		if live := strings.HasPrefix(comment, " (live)"); !ok || live != s.live {
			t.Errorf("%s: the comment is %q; live %v", s.key, comment, s.live)
		}
	}
}
