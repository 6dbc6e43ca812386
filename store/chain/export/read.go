package export

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store/chain"
)

// maxProof bounds the proof of an export in bytes.
const maxProof = 1 << 30

// Verify verifies the export that r holds. Its error is that of reading, never one of
// the content.
func Verify(r io.Reader, t chain.Trust) (*chain.Report, error) {
	failed := &failing{r: r}
	in := bufio.NewReaderSize(failed, 64<<10)
	v := chain.NewVerifier()
	proof, err := read(in, v)
	switch {
	case failed.err != nil:
		return nil, fmt.Errorf("read the export: %w", failed.err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return v.Verify(nil, t), nil
	case err != nil:
		return v.Broken(err), nil
	}
	return v.Verify(proof, t), nil
}

// failing keeps the error of reading apart from those of the content.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// read hands the events of an export to v and returns its proof; nil if it has none.
func read(in *bufio.Reader, v *chain.Verifier) (*chain.Proof, error) {
	if bom, _ := in.Peek(3); string(bom) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	start, _ := in.Peek(64)
	start = bytes.TrimLeft(start, " \t\r\n")
	switch name, isObject := bytes.CutPrefix(start, []byte("{")); {
	case isObject && bytes.HasPrefix(bytes.TrimLeft(name, " \t\r\n"), []byte(`"data"`)):
		return readJSON(in, v)
	case isObject:
		return readLines(in, v)
	}
	return readCSV(in, v)
}

// event is an event as the API shows it.
type event struct {
	ID        string         `json:"id"`
	Seq       uint64         `json:"seq"`
	Time      string         `json:"time"`
	EventType string         `json:"event_type"`
	Action    string         `json:"action"`
	Actor     actor          `json:"actor"`
	Account   string         `json:"account"`
	KeyID     string         `json:"key_id"`
	Target    string         `json:"target"`
	Outcome   string         `json:"outcome"`
	Reason    string         `json:"reason"`
	IP        string         `json:"ip"`
	Country   string         `json:"country"`
	UserAgent string         `json:"user_agent"`
	Count     uint64         `json:"count"`
	Request   request        `json:"request"`
	Changes   jsontext.Value `json:"changes"`
	Hash      string         `json:"hash"`
}

type actor struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

type request struct {
	ID         string  `json:"id"`
	Method     string  `json:"method"`
	Path       string  `json:"path"`
	Route      string  `json:"route"`
	Upstream   string  `json:"upstream"`
	Attempts   uint64  `json:"attempts"`
	Errors     string  `json:"errors"`
	Status     uint64  `json:"status"`
	DurationMS float64 `json:"duration_ms"`
	StartedAt  string  `json:"started_at"`
}

// record is e as texts.
func (e *event) record() (*chain.Record, error) {
	changes := ""
	if len(e.Changes) > 0 && e.Changes.Kind() != 'n' {
		if err := e.Changes.Compact(); err != nil {
			return nil, err
		}
		changes = string(e.Changes)
	}
	r := &e.Request
	return &chain.Record{
		e.ID, strconv.FormatUint(e.Seq, 10), timeText(e.Time), e.EventType, e.Action, e.Actor.Type, e.Actor.ID, e.Actor.Name,
		e.Account, e.KeyID, e.Target, e.Outcome, e.Reason, e.IP, e.Country, e.UserAgent, r.ID, r.Method, r.Route,
		number(r.Status), decimal(r.DurationMS), changes, r.Path, r.Upstream, number(r.Attempts), timeText(r.StartedAt), r.Errors, number(e.Count),
	}, nil
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func decimal(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// timeText is the text that was hashed. One that is finer than milliseconds was not.
func timeText(s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Nanosecond()%int(time.Millisecond) != 0 {
		return s
	}
	return t.UTC().Format(chain.TimeFormat)
}

// addJSON reads one event.
func addJSON(raw jsontext.Value, v *chain.Verifier) error {
	var e event
	if err := json.Unmarshal(raw, &e, jsontext.AllowInvalidUTF8(true)); err != nil {
		return err
	}
	r, err := e.record()
	if err != nil {
		return err
	}
	v.Add(r, e.Hash)
	return nil
}

// readJSON reads {"data":[…],…,"proof":{…}}.
func readJSON(in io.Reader, v *chain.Verifier) (proof *chain.Proof, err error) {
	dec := jsontext.NewDecoder(in)
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		switch text := name.String(); {
		case text == "data" && dec.PeekKind() == '[':
			if err := readArray(dec, v); err != nil {
				return nil, err
			}
		case text == "proof":
			if proof, err = readProof(dec); err != nil {
				return nil, err
			}
		default:
			if err := dec.SkipValue(); err != nil {
				return nil, err
			}
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, errors.New("there is more after its end")
	}
	return proof, nil
}

func readArray(dec *jsontext.Decoder, v *chain.Verifier) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := addJSON(raw, v); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func readProof(dec *jsontext.Decoder) (*chain.Proof, error) {
	p := new(chain.Proof)
	return p, json.UnmarshalDecode(dec, p)
}

// readLines reads NDJSON: events, and {"proof":{…}} at the end.
func readLines(in io.Reader, v *chain.Verifier) (proof *chain.Proof, err error) {
	dec := jsontext.NewDecoder(in)
	for {
		raw, err := dec.ReadValue()
		switch {
		case err == io.EOF:
			return proof, nil
		case err != nil:
			return nil, err
		case proof != nil:
			return nil, errors.New("there is more after its proof")
		}
		var end struct {
			Proof *chain.Proof `json:"proof"`
		}
		if strings.HasPrefix(string(raw[:min(len(raw), 9)]), `{"proof":`) {
			if err := json.Unmarshal(raw, &end); err != nil {
				return nil, err
			}
			proof = end.Proof
			continue
		}
		if err := addJSON(raw, v); err != nil {
			return nil, err
		}
	}
}
