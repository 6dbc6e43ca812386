package iprange

import (
	"strconv"
	"strings"
)

// LooksIPv4 reports whether the last label of host is a number, in the forms that C
// libraries read too. No top-level domain is one, so such a host is an IPv4 address
// or cannot be resolved.
func LooksIPv4(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || strings.Contains(host, ":") {
		return false
	}
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || strings.Trim(last, "0123456789") == ""
}
