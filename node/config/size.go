package config

import "github.com/perfgate/perfgate/httpapi/span"

// Size is a number of bytes, written as [span.Bytes] reads it, in a string.
type Size int64

// UnmarshalText reads a size; the empty text is 0.
func (s *Size) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = 0
		return nil
	}
	n, err := span.Bytes(string(text))
	if err == nil {
		*s = Size(n)
	}
	return err
}

func (s Size) String() string { return span.FormatBytes(int64(s)) }
