package node

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written "64MiB", "10GB" or "512" in a string.
type Size int64

// The units of a [Size], largest first, so that the longest text is written shortest.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// UnmarshalText reads a size. Fractions are refused: "1.5GiB" is "1536MiB".
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := string(text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return errors.New(`want a size such as "64MiB"`)
	}
	*s = Size(int64(n) * unit)
	return nil
}

func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// OneOrMore is a list that may be written as a single string.
type OneOrMore []string

var (
	durationType  = reflect.TypeFor[time.Duration]()
	prefixType    = reflect.TypeFor[netip.Prefix]()
	timeType      = reflect.TypeFor[time.Time]()
	oneOrMoreType = reflect.TypeFor[OneOrMore]()
	textType      = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// convert turns a value as TOML, the environment or a flag gives it into a t,
// without ever guessing: a number is no duration, a string no number. The error
// says what is wanted. Tables and lists are left to the caller.
func convert(v any, t reflect.Type) (any, error) {
	s, isString := v.(string)
	switch {
	case reflect.TypeOf(v) == t:
		return v, nil
	case t == durationType:
		if !isString {
			return nil, errors.New(`want a duration in quotes, with its unit, such as "5s"`)
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, errors.New(`want a duration such as "500ms", "5s" or "24h"`)
		}
		return d, nil
	case t == prefixType:
		if !isString {
			return nil, errors.New("want an address or CIDR range in quotes")
		}
		return parsePrefix(s)
	case t == timeType:
		if !isString {
			return nil, errors.New(`want a time with its zone, such as "2027-01-31T00:00:00Z"`)
		}
		if s == "" {
			return time.Time{}, nil
		}
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return nil, errors.New(`want a time as in RFC 3339, such as "2027-01-31T00:00:00Z"`)
		}
		return at, nil
	case t == oneOrMoreType && isString:
		if s == "" {
			return OneOrMore{}, nil
		}
		return OneOrMore{s}, nil
	case reflect.PointerTo(t).Implements(textType):
		if !isString {
			return nil, errors.New("want a string in quotes")
		}
		out := reflect.New(t)
		if err := out.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
			return nil, err
		}
		return out.Elem().Interface(), nil
	}
	switch t.Kind() {
	case reflect.String:
		if !isString {
			return nil, errors.New("want a string in quotes")
		}
		return reflect.ValueOf(s).Convert(t).Interface(), nil
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return nil, errors.New("want true or false, without quotes")
		}
		return v, nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := v.(int64)
		if !ok || reflect.Zero(t).OverflowInt(n) {
			return nil, errors.New("want a whole number, without quotes")
		}
		return reflect.ValueOf(n).Convert(t).Interface(), nil
	case reflect.Float64:
		switch n := v.(type) {
		case float64:
			return n, nil
		case int64:
			return float64(n), nil
		}
		return nil, errors.New("want a number, without quotes")
	case reflect.Interface: // what may be a number or a string, and is read further on
		switch v.(type) {
		case string, int64, float64:
			return v, nil
		}
		return nil, errors.New("want a number or a string")
	}
	return nil, fmt.Errorf("BUG: no way to read a %s", t)
}

// parsePrefix reads an address or range. Host bits are refused rather than
// dropped: who trusts 10.1.2.3/8 has probably meant something smaller.
func parsePrefix(s string) (netip.Prefix, error) {
	const want = `want an address or CIDR range such as "10.0.0.0/8" or "2001:db8::1"`
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New(want)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New(want)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("the range begins at %s: write that, or one address alone", p.Masked())
	}
	return p, nil
}
