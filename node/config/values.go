package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/perfgate/perfgate/httpapi/iprange"
	"github.com/perfgate/perfgate/httpapi/span"
)

// OneOrMore is a list that may be written as a single string.
type OneOrMore []string

var (
	durationType  = reflect.TypeFor[time.Duration]()
	prefixType    = reflect.TypeFor[netip.Prefix]()
	timeType      = reflect.TypeFor[time.Time]()
	oneOrMoreType = reflect.TypeFor[OneOrMore]()
	textType      = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// convert turns a value as TOML, the environment or a flag gives it into a t. It
// never guesses: a number is no duration, a string no number. The error reads
// "must be …". Tables and lists are left to the caller.
func convert(v any, t reflect.Type) (any, error) {
	if reflect.TypeOf(v) == t {
		return v, nil
	}
	if parse, quotes := textParser(t); parse != nil {
		s, ok := v.(string)
		if !ok {
			return nil, errors.New(quotes)
		}
		return parse(s)
	}
	switch t.Kind() {
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("must be a string in quotes")
		}
		return reflect.ValueOf(s).Convert(t).Interface(), nil
	case reflect.Bool:
		return nil, errors.New("must be true or false, without quotes")
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := v.(int64)
		if !ok || reflect.Zero(t).OverflowInt(n) {
			return nil, errors.New("must be a whole number, without quotes")
		}
		return reflect.ValueOf(n).Convert(t).Interface(), nil
	case reflect.Float64:
		if n, ok := v.(int64); ok {
			return float64(n), nil
		}
		return nil, errors.New("must be a number, without quotes")
	case reflect.Interface: // a number or a string; the user of the value parses it
		switch v.(type) {
		case string, int64, float64:
			return v, nil
		}
		return nil, errors.New("must be a number or a string")
	case reflect.Slice:
		if s, ok := v.(string); ok && t == oneOrMoreType {
			if s == "" {
				return OneOrMore{}, nil
			}
			return OneOrMore{s}, nil
		}
	}
	return nil, fmt.Errorf("BUG: no way to read a %s", t)
}

// textParser returns the parser of a type that is written as a string, nil if t is
// none; quotes is the error about a value that is not a string.
func textParser(t reflect.Type) (parse func(string) (any, error), quotes string) {
	switch {
	case t == durationType:
		return parseDuration, `must be a duration in quotes, with its unit, such as "5s"`
	case t == prefixType:
		return func(s string) (any, error) { return iprange.ParseExact(s) }, "must be an IP address or CIDR range in quotes"
	case t == timeType:
		return parseTime, `must be a time with its zone, such as "2027-01-31T00:00:00Z"`
	case reflect.PointerTo(t).Implements(textType):
		return func(s string) (any, error) {
			out := reflect.New(t)
			if err := out.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
				return nil, err
			}
			return out.Elem().Interface(), nil
		}, "must be a string in quotes"
	}
	return nil, ""
}

func parseDuration(s string) (any, error) {
	d, err := span.Parse(s)
	if err != nil {
		return nil, errors.New(`must be a duration such as "500ms", "24h" or "30d"`)
	}
	return d, nil
}

// parseTime reads a time; the empty string is the zero time.
func parseTime(s string) (any, error) {
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, errors.New(`must be a time as in RFC 3339, such as "2027-01-31T00:00:00Z"`)
	}
	return at, nil
}
