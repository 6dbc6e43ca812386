package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// cursorMAC is how many bytes of the authentication code a cursor carries.
const cursorMAC = 16

// seal makes the cursor that resumes this list behind pos. It is bound to the
// account, the call and its filters by a code under the cluster's pepper: every
// node accepts it, nobody else can make one, and it does not fit another list.
func (c *call) seal(pos string) *string {
	s := base64.RawURLEncoding.EncodeToString(append(c.cursorCode(pos), pos...))
	return &s
}

// open returns the position in a cursor, "" without one.
func (c *call) open(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= cursorMAC {
		return "", fault.New(fault.InvalidCursor)
	}
	pos := string(raw[cursorMAC:])
	if !hmac.Equal(raw[:cursorMAC], c.cursorCode(pos)) {
		return "", fault.New(fault.InvalidCursor)
	}
	return pos, nil
}

func (c *call) cursorCode(pos string) []byte {
	pepper := c.Store.Pepper()
	filters := url.Values{}
	for k, v := range c.r.URL.Query() {
		if k != "cursor" && k != "limit" {
			filters[k] = v
		}
	}
	sum := digest("cursor", string(c.account), c.route.id, filters.Encode(), pos)
	m := hmac.New(sha256.New, pepper[:])
	m.Write(sum[:])
	return m.Sum(nil)[:cursorMAC]
}

// page is the answer of a list.
type page[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next_cursor"`
}
