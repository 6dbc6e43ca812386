package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/node/config/configtest"
)

func TestSize(t *testing.T) {
	s := Size(7)
	if err := s.UnmarshalText([]byte("64MiB")); err != nil || s != 64<<20 || s.String() != "64MiB" {
		t.Errorf("%s, %v", s, err)
	}
	if err := s.UnmarshalText([]byte("64")); err == nil || s != 64<<20 {
		t.Errorf("%s, %v", s, err)
	}
}

// A value is never guessed: each kind is read from its own kind alone.
func TestConvert(t *testing.T) {
	type name string
	noon := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		in   any
		want any
	}{
		{"5s", 5 * time.Second},
		{"-1m30s", -90 * time.Second},
		{"30d", 30 * 24 * time.Hour},
		{"14d12h", 348 * time.Hour},
		{"10.0.0.0/8", netip.MustParsePrefix("10.0.0.0/8")},
		{"::1", netip.MustParsePrefix("::1/128")},
		{"2027-01-31T12:00:00Z", noon},
		{noon, noon}, // a TOML date
		{"", time.Time{}},
		{"a", OneOrMore{"a"}},
		{"", OneOrMore{}},
		{"64MiB", Size(64 << 20)},
		{"text", "text"},
		{"text", name("text")},
		{true, true},
		{int64(7), 7},
		{int64(7), int32(7)},
		{int64(7), int64(7)},
		{int64(7), 7.0},
		{0.5, 0.5},
	} {
		got, err := convert(tt.in, reflect.TypeOf(tt.want))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("convert(%#v, %T) = %#v, %v; want %#v", tt.in, tt.want, got, err, tt.want)
		}
	}
	for _, in := range []any{"a", int64(1), 0.5} {
		if got, err := convert(in, reflect.TypeFor[any]()); err != nil || got != in {
			t.Errorf("convert(%#v, any) = %#v, %v", in, got, err)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	for _, tt := range []struct {
		in   any
		to   reflect.Type
		want string
	}{
		{int64(5), durationType, "must be a duration in quotes"},
		{"5", durationType, `must be a duration such as "500ms"`},
		{"soon", durationType, `must be a duration such as "500ms"`},
		{"12h1d", durationType, `must be a duration such as "500ms", "24h" or "30d"`},
		{"106752d", durationType, `must be a duration such as "500ms"`}, // more than fits
		{int64(5), prefixType, "must be an IP address or CIDR range in quotes"},
		{"10.1.2.3/8", prefixType, "10.0.0.0/8"},
		{"example.com", prefixType, "must be an IP address or CIDR range"},
		{int64(2027), timeType, "must be a time with its zone"},
		{"2027-01-31", timeType, "must be a time as in RFC 3339"},
		{int64(5), reflect.TypeFor[Size](), "must be a string in quotes"},
		{"5 apples", reflect.TypeFor[Size](), "must be a size"},
		{int64(5), reflect.TypeFor[string](), "must be a string in quotes"},
		{"true", reflect.TypeFor[bool](), "must be true or false, without quotes"},
		{int64(1), reflect.TypeFor[bool](), "must be true or false, without quotes"},
		{"7", reflect.TypeFor[int](), "must be a whole number, without quotes"},
		{0.5, reflect.TypeFor[int](), "must be a whole number, without quotes"},
		{int64(1) << 40, reflect.TypeFor[int32](), "must be a whole number, without quotes"},
		{"0.5", reflect.TypeFor[float64](), "must be a number, without quotes"},
		{true, reflect.TypeFor[any](), "must be a number or a string"},
		{"x", reflect.TypeFor[chan int](), "BUG"},
	} {
		if got, err := convert(tt.in, tt.to); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("convert(%#v, %s) = %#v, %v; want an error with %q", tt.in, tt.to, got, err, tt.want)
		}
	}
}

func TestShow(t *testing.T) {
	for _, tt := range []struct {
		in   any
		want string
	}{
		{"a", `"a"`},
		{"line\nbreak", `"line\nbreak"`},
		{int64(5), "5"},
		{true, "true"},
		{[]any{"a", int64(1)}, `["a", 1]`},
		{[]string{"a", "b"}, `["a" "b"]`},
		{map[string]any{"Authorization": "hunter2"}, "{…}"},
		{[]any{map[string]any{"Authorization": "hunter2"}}, "[{…}]"},
	} {
		if got := show(tt.in); got != tt.want {
			t.Errorf("show(%#v) = %s, want %s", tt.in, got, tt.want)
		}
	}
	for _, long := range []string{strings.Repeat("x", 1000), strings.Repeat("é", 1000), strings.Repeat("aé", 1000)} {
		got := show(long)
		if rest, ok := strings.CutSuffix(got, "…"); !ok || len(rest) > shownValue || len(rest) < shownValue-1 || !utf8.ValidString(got) {
			t.Errorf("a long value is shown as %q, in %d bytes", got, len(got))
		}
	}
	if got := show(strings.Repeat("x", shownValue-2)); len(got) != shownValue || strings.HasSuffix(got, "…") {
		t.Errorf("a value that is just short enough is shown as %s", got)
	}
}

func TestUsageError(t *testing.T) {
	for want, e := range map[string]*UsageError{
		`perfgate.toml: log.level = "x": must be lower`: {Source: "perfgate.toml", Key: "log.level", Value: `"x"`, Reason: "must be lower"},
		`log.level: must be set`:                        {Key: "log.level", Reason: "must be set"},
		`--config: must be a file`:                      {Source: "--config", Reason: "must be a file"},
		`unknown flag`:                                  {Reason: "unknown flag"},
	} {
		if e.Error() != want || e.ExitCode() != 2 {
			t.Errorf("%q with exit code %d, want %q", e.Error(), e.ExitCode(), want)
		}
	}
}

// A fault found after loading names the source of its key too.
func TestFault(t *testing.T) {
	c := mustLoad(t, []string{"--data-dir", "/srv/a"}, "PERFGATE_UPSTREAM=http://b")
	for want, err := range map[string]error{
		`--data-dir: node.data_dir = "/srv/a": gone`:              c.Fault("node.data_dir", "gone"),
		`PERFGATE_UPSTREAM: proxy.upstream = "http://b": gone`:    c.Fault("proxy.upstream", "gone"),
		`admin.listen = "127.0.0.1:8081": taken`:                  c.Fault("admin.listen", "taken"),
		`PERFGATE_UPSTREAM: proxy.upstream = "http://c": gone`:    c.FaultAt("proxy.upstream", "proxy.upstream", "http://c", "gone"),
		`proxy.routes[1].path: missing`:                           c.FaultAt("proxy.routes", "proxy.routes[1].path", "", "missing"),
		`PERFGATE_UPSTREAM: proxy.upstream[0] = "\"": bad`:        c.FaultAt("proxy.upstream", "proxy.upstream[0]", `"`, "bad"),
		`PERFGATE_UPSTREAM: proxy.upstream.password: must be set`: c.FaultAt("proxy.upstream", "proxy.upstream.password", "", "must be set"),
	} {
		if err.Error() != want || configtest.ExitCode(err) != 2 {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
