package export

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/chain"
)

// proofLine begins the last line of an export in CSV.
const proofLine = "# proof "

// readCSV reads a header, rows and the line of the proof.
func readCSV(in *bufio.Reader, v *chain.Verifier) (*chain.Proof, error) {
	rows := &untilProof{in: in, start: true}
	r := csv.NewReader(rows)
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil {
		return nil, errors.Join(errors.New("it is no export in JSON, NDJSON or CSV"), err)
	}
	columns := make([]int, len(head)) // of each cell; -1 is the hash, -2 none
	seen := 0
	for i, name := range head {
		switch columns[i] = slices.Index(chain.Columns[:], name); {
		case name == "hash":
			columns[i] = -1
			seen++
		case columns[i] < 0:
			columns[i] = -2
		default:
			seen++
		}
	}
	if seen < len(chain.Columns)+1 {
		return nil, errors.New("it is no export in JSON, NDJSON or CSV: its header does not name all columns")
	}
	for {
		cells, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var rec chain.Record
		hash := ""
		for i, cell := range cells {
			cell = uninert(strings.Clone(cell))
			switch columns[i] {
			case -1:
				hash = cell
			case -2:
			default:
				rec[columns[i]] = cell
			}
		}
		v.Add(&rec, hash)
	}
	if !rows.proof {
		return nil, nil
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxProof))
	if err != nil {
		return nil, err
	}
	p := new(chain.Proof)
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, err
	}
	return p, nil
}

// uninert removes the apostrophe that keeps a spreadsheet from taking a cell for a
// formula.
func uninert(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.IndexByte("=+-@\t\r\n'", s[1]) >= 0 {
		return s[1:]
	}
	return s
}

// untilProof reads the rows up to the line of the proof, which may not be within
// quotes.
type untilProof struct {
	in     *bufio.Reader
	line   []byte
	start  bool // at the beginning of a line
	quoted bool
	proof  bool
}

// Read implements [io.Reader].
func (u *untilProof) Read(b []byte) (int, error) {
	if len(u.line) == 0 {
		if u.proof {
			return 0, io.EOF
		}
		if u.start && !u.quoted {
			if next, _ := u.in.Peek(len(proofLine)); string(next) == proofLine {
				u.proof = true
				_, _ = u.in.Discard(len(proofLine))
				return 0, io.EOF
			}
		}
		line, err := u.in.ReadSlice('\n')
		if len(line) == 0 {
			return 0, err
		}
		u.line = append(u.line, line...)
		u.start = line[len(line)-1] == '\n'
		for _, c := range line {
			if c == '"' {
				u.quoted = !u.quoted
			}
		}
	}
	n := copy(b, u.line)
	u.line = u.line[:copy(u.line, u.line[n:])]
	return n, nil
}
