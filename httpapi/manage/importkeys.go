package manage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// maxImportBody bounds the body of one import, in bytes.
const maxImportBody = 16 << 20

// importLine is one line of an import: a new key that exists already, given
// whole or by the SHA-256 of it.
type importLine struct {
	newKey
	Key    *string `json:"key"`
	SHA256 *string `json:"sha256"`
	Prefix *string `json:"prefix"` // that the key begins with; with SHA256 only
}

// importedLine is the result of one line.
type importedLine struct {
	Line     int          `json:"line"`
	ID       *store.KeyID `json:"id"`
	Error    *lineError   `json:"error"`
	Warnings []string     `json:"warnings,omitempty"` // see [Keys.unused]

	key *store.Key // that the line describes; nil if it was refused
}

// lineError is the reason why a line was not imported.
type lineError struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
}

// Import takes NDJSON, one key a line. A line that is refused does not stop
// the others. The body is repeatable as a whole; a repeat completes an import that
// broke off.
func (h *Keys) Import(c *rest.Call) (*rest.Page[importedLine], error) {
	q := c.Query()
	reassign := q.Bool("reassign")
	if q.Err() != nil {
		return nil, q.Err()
	}
	if reassign && !c.Caller.Operates() {
		// An account that knows a key which another one revoked could take over its clients.
		return nil, fault.Newf(fault.Forbidden, "Only an operator token may import keys that another account has revoked.")
	}
	raw, err := c.Body(maxImportBody, "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "text/plain")
	if err != nil {
		return nil, err
	}
	cmd, sums, out, err := h.readImport(c, raw)
	if err != nil {
		return nil, err
	}
	if len(cmd.Keys) == 0 {
		return out, nil
	}
	cmd.Reassign = reassign
	more := store.Held{Keys: len(cmd.Keys)}
	for i := range cmd.Keys {
		more.Bytes += store.KeySize(&cmd.Keys[i])
	}
	if err := h.room(c, more); err != nil {
		return nil, err
	}
	results, err := h.proposeImport(c, cmd, sums)
	if err != nil {
		return nil, err
	}
	for i := range out.Data {
		at := &out.Data[i]
		result, sent := results[at.Line]
		switch {
		case at.Error != nil || !sent:
		case result.Error != "":
			at.Error = &lineError{fault.Conflict, result.Error}
		default:
			at.ID = &result.ID
		}
	}
	h.warnOfLines(out.Data)
	return out, nil
}

// importStep is the number of keys of one command: no node is to apply one for long,
// since it reports no newer index meanwhile.
const importStep = 500

// proposeImport imports the keys of all, which have the sums, by as many commands as it takes,
// one after the other, and returns the result of each line.
func (h *Keys) proposeImport(c *rest.Call, all *store.KeyImport, sums [][sha256.Size]byte) (map[int]store.ImportLine, error) {
	results := make(map[int]store.ImportLine, len(all.Keys))
	for at := 0; at < len(all.Keys); at += importStep {
		end := min(at+importStep, len(all.Keys))
		if at > 0 {
			c.Continue("line " + strconv.Itoa(all.Lines[at]))
			if f := c.Lost(); f != nil { // the caller may have been revoked since the last step
				return nil, f
			}
		}
		step := &store.KeyImport{Keys: all.Keys[at:end], Lines: all.Lines[at:end], Reassign: all.Reassign}
		if all.Prefixes != nil {
			step.Prefixes = all.Prefixes[at:end]
		}
		rc, err := h.propose(c, func(p store.Peppers) store.Change { return hashImport(step, sums[at:end], p) })
		if err != nil {
			return nil, err
		}
		for _, l := range rc.Lines {
			results[l.Line] = l
		}
		if len(rc.Lines) > end-at {
			break // the stored result of a version that imported all by one command
		}
	}
	return results, nil
}

// hashImport hashes the keys of step, which have the sums: under the retired pepper, too, since
// they may be known under that.
func hashImport(step *store.KeyImport, sums [][sha256.Size]byte, p store.Peppers) *store.KeyImport {
	step.Retired = nil
	for i := range step.Keys {
		step.Keys[i].Hash, step.Keys[i].Generation = apikey.HashSum(p.Current, sums[i]), p.Generation
		if p.Rotating {
			step.Retired = append(step.Retired, apikey.HashSum(p.Retired, sums[i]))
		}
	}
	return step
}

// readImport reads every line: the good ones into a command, beside the SHA-256 of each key,
// and for each line its part of the answer, with the error of a bad one.
func (h *Keys) readImport(c *rest.Call, raw []byte) (cmd *store.KeyImport, sums [][sha256.Size]byte, out *rest.Page[importedLine], err error) {
	cmd, out = &store.KeyImport{}, &rest.Page[importedLine]{Data: []importedLine{}}
	seen := map[[sha256.Size]byte]int{}
	prefixes := h.Store.ClusterLevel() >= store.LevelOfPrefixes
	inTier := sync.OnceValue(func() error { return allowlistInTier(c, h.Store) })
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(out.Data) == store.MaxImport {
			return nil, nil, nil, rest.Invalid("", "has more than %d lines; import the rest in another call", store.MaxImport)
		}
		at := importedLine{Line: n}
		k, sum, prefix, err := readImportLine(c, line)
		if err == nil && len(k.Allowlist) > 0 {
			err = inTier()
		}
		if err == nil {
			if first, twice := seen[sum]; twice {
				err = fault.Newf(fault.Conflict, "This key stands in line %d already.", first)
			}
		}
		if err != nil {
			f := fault.From(err)
			at.Error = &lineError{f.Code, apikey.Mask(f.Sentence())}
		} else {
			seen[sum], at.key = n, k
			cmd.Keys, sums = append(cmd.Keys, *k), append(sums, sum)
			cmd.Lines = append(cmd.Lines, n)
			if prefixes {
				cmd.Prefixes = append(cmd.Prefixes, prefix)
			}
		}
		out.Data = append(out.Data, at)
	}
	if len(out.Data) == 0 {
		return nil, nil, nil, fault.Newf(fault.InvalidJSON, "The body is empty; send one JSON object a line.")
	}
	return cmd, sums, out, nil
}

// readImportLine reads one line into the key that it describes, the SHA-256 of its secret, and
// the prefix by which it is looked up; see [store.KeyImport].
func readImportLine(c *rest.Call, line []byte) (k *store.Key, sum [sha256.Size]byte, prefix string, err error) {
	var in importLine
	if err := c.Decode(line, &in); err != nil {
		return nil, sum, "", err
	}
	k, err = in.newKey.key(c)
	if err := in.check(err); err != nil {
		return nil, sum, "", err
	}
	k.Imported = true
	if in.Key == nil {
		sum, _ = readSum(*in.SHA256) // checked
		if k.Hint = "…"; in.Prefix == nil {
			return k, sum, store.AnyPrefix, nil
		}
		return k, sum, apikey.Prefix(*in.Prefix + "00000000"), nil // the rest of the key, of any form
	}
	sum, k.Hint = apikey.Sum(*in.Key), apikey.Hint(*in.Key)
	if apikey.Parse(*in.Key) == apikey.Native {
		return k, sum, "", nil
	}
	return k, sum, apikey.Prefix(*in.Key), nil
}

// Check implements [rest.Checker].
func (in *importLine) Check(c *rest.Call) error { return in.check(in.newKey.Check(c)) }

// check adds the faults of the secret, of its SHA-256 and of its prefix to those of the
// other settings.
func (in *importLine) check(settings error) error {
	var faults fault.List
	faults.Add(settings)
	switch {
	case (in.Key == nil) == (in.SHA256 == nil):
		faults.Add(rest.Invalid("key", `send either "key" or "sha256"`))
	case in.Key != nil:
		if apikey.Parse(*in.Key) == apikey.Malformed {
			faults.Add(rest.Invalid("key", "must be %d–%d visible ASCII characters", apikey.MinForeignLen, apikey.MaxForeignLen))
		}
		faults.Add(in.checkType(*in.Key))
		if in.Prefix != nil {
			faults.Add(rest.Invalid("prefix", `goes with "sha256" only; a whole key shows its own`))
		}
	default:
		if _, err := readSum(*in.SHA256); err != nil {
			faults.Add(rest.Invalid("sha256", "%v", err))
		}
		if p := in.Prefix; p != nil && (len(*p) < minPrefix || !rest.Visible(*p, apikey.MaxForeignLen) || apikey.Holds(*p)) {
			faults.Add(rest.Invalid("prefix", "must be the first %d or more characters of the key, such as sk_live_", minPrefix))
		} else if p != nil {
			faults.Add(in.checkType(*p))
		}
	}
	return faults.Err()
}

// checkType refuses a key that begins as those of the other type do.
func (in *importLine) checkType(begins string) error {
	if in.Type == nil {
		return nil
	}
	if other := prefixOf(store.Live + store.Test - *in.Type); strings.HasPrefix(begins, other) {
		return rest.Invalid("type", "is %s, but the key begins with %s", *in.Type, other)
	}
	return nil
}

// minPrefix is the length that a prefix must have to tell keys apart.
const minPrefix = 4

func readSum(s string) (sum [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(sum) {
		return sum, errors.New("must be the 64 hexadecimal digits of a SHA-256")
	}
	return [sha256.Size]byte(raw), nil
}
