package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The bounds of one import.
const (
	maxImportLines = 10_000
	maxImportBody  = 16 << 20 // bytes
)

// importLine is one line of an import: a new key that exists already, given
// whole or by the SHA-256 of it.
type importLine struct {
	newKey
	Key    *string `json:"key"`
	SHA256 *string `json:"sha256"`
}

// importedLine is the fate of one line.
type importedLine struct {
	Line  int          `json:"line"`
	ID    *store.KeyID `json:"id"`
	Error *lineError   `json:"error"`
}

// lineError says why a line was not imported.
type lineError struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
}

// importKeys takes NDJSON, one key a line. A line that is refused does not stop
// the others. The body is repeatable as a whole.
func importKeys(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	raw, err := c.read(maxImportBody, "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "text/plain")
	if err != nil {
		return nil, err
	}
	cmd := &store.KeyImport{}
	out := page[importedLine]{Data: []importedLine{}}
	seen := map[store.Hash]int{}
	n, pepper := 0, c.Store.Pepper()
	for line := range bytes.Lines(raw) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(out.Data) == maxImportLines {
			return nil, invalid("", "has more than %d lines; import the rest in another call", maxImportLines)
		}
		at := importedLine{Line: n}
		k, err := c.importLine(line, pepper)
		if err == nil {
			if first, twice := seen[k.Hash]; twice {
				err = fault.Newf(fault.Conflict, "This key stands in line %d already.", first)
			}
		}
		if err != nil {
			f := fault.From(err)
			at.Error = &lineError{f.Code, f.Sentence()}
		} else {
			seen[k.Hash] = n
			cmd.Keys = append(cmd.Keys, *k)
			cmd.Lines = append(cmd.Lines, n)
		}
		out.Data = append(out.Data, at)
	}
	if len(out.Data) == 0 {
		return nil, fault.Newf(fault.InvalidJSON, "The body is empty; send one JSON object a line.")
	}
	if len(cmd.Keys) == 0 {
		return out, nil
	}
	rc, err := c.propose(&store.Command{KeyImport: cmd})
	if err != nil {
		return nil, err
	}
	fates := make(map[int]store.ImportLine, len(rc.Lines))
	for _, l := range rc.Lines {
		fates[l.Line] = l
	}
	for i := range out.Data {
		at := &out.Data[i]
		fate, sent := fates[at.Line]
		switch {
		case at.Error != nil || !sent:
		case fate.Error != "":
			at.Error = &lineError{fault.Conflict, fate.Error}
		default:
			at.ID = &fate.ID
		}
	}
	return out, nil
}

// importLine reads one line into the key that it describes.
func (c *call) importLine(line []byte, pepper store.Hash) (*store.Key, error) {
	var in importLine
	if err := decode(line, &in); err != nil {
		return nil, err
	}
	k, err := in.newKey.key(c)
	if err != nil {
		return nil, err
	}
	k.Imported = true
	switch {
	case (in.Key == nil) == (in.SHA256 == nil):
		return nil, invalid("key", `send either "key" or "sha256"`)
	case in.Key != nil:
		if apikey.Parse(*in.Key) == apikey.Malformed {
			return nil, invalid("key", "want %d–%d visible ASCII characters", apikey.MinForeignLen, apikey.MaxForeignLen)
		}
		if other := prefixOf(store.Live + store.Test - k.Type); strings.HasPrefix(*in.Key, other) {
			return nil, invalid("type", "is %s, but the key begins with %s", k.Type, other)
		}
		k.Hash, k.Hint = apikey.Hash(pepper, *in.Key), apikey.Hint(*in.Key)
	default:
		sum, err := readSum(*in.SHA256)
		if err != nil {
			return nil, invalid("sha256", "%v", err)
		}
		k.Hash, k.Hint = apikey.HashSum(pepper, sum), "…"
	}
	return k, nil
}

func readSum(s string) (sum [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(sum) {
		return sum, errors.New("want the 64 hexadecimal digits of a SHA-256")
	}
	return [sha256.Size]byte(raw), nil
}
