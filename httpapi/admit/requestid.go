package admit

import (
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/store/ids"
)

// RequestID is the client's X-Request-Id, whose lines are given, if it is a token
// ([IsToken]) that holds no API key, else a new one.
func RequestID(v []string) string {
	if len(v) == 1 && IsToken(v[0]) && !apikey.Holds(v[0]) {
		return v[0]
	}
	return requestIDs.New()
}

var requestIDs = ids.NewSource("req_")

// IsToken holds for 1–128 of [A-Za-z0-9._-]: the form of request ids, and of the
// names that stand in the paths of the management API.
func IsToken(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
