package config

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Flags returns the flags of serve and check-config, for [LoadFlags].
func Flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	fs.String(configFlag, "", "configuration file (TOML)")
	for _, s := range settings {
		if s.flag == "" {
			continue
		}
		switch v := s.value.(type) {
		case string:
			fs.String(s.flag, v, s.usage)
		case bool:
			fs.Bool(s.flag, v, s.usage)
		case int64:
			fs.Int64(s.flag, v, s.usage)
		case []any:
			fs.StringSlice(s.flag, nil, s.usage)
		}
	}
	return fs
}

// parseText reads the text of an environment variable as the kind of value that
// the setting has in the file. reason is the fault of the text, or "".
func (s *setting) parseText(text string) (v any, reason string) {
	switch s.value.(type) {
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, "must be true or false"
		}
		return b, ""
	case int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, "must be a whole number"
		}
		return n, ""
	case []any:
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(part))
		}
		return list, ""
	}
	return text, ""
}

// FlagError turns pflag's error about an argument into a [*UsageError]; it leaves
// [pflag.ErrHelp] alone.
func FlagError(err error) error {
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		name := invalid.GetFlag().Name
		for _, s := range settings {
			if s.flag == name {
				_, reason := s.parseText(invalid.GetValue())
				return &UsageError{Source: "--" + name, Key: s.key, Value: show(invalid.GetValue()), Reason: reason}
			}
		}
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if meant := nearest(unknown.GetSpecifiedName(), names); meant != "" {
			return &UsageError{Reason: err.Error() + "; did you mean --" + meant + "?"}
		}
	}
	return &UsageError{Reason: err.Error() + "; --help lists the flags"}
}
