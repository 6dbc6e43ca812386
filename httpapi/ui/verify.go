package ui

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/chain/export"
)

// The bounds of a verification on a page. Larger logs are verified by the command.
const (
	maxVerified = 64 << 20         // bytes of the export, some 150,000 events
	verifyTime  = 30 * time.Second // shorter than proxies in front of the dashboard wait
)

// verification is the page about whether the events that match the filters are whole.
type verification struct {
	Report  *chain.Report // nil: there was too much to verify
	Bad     bool          // something in it was changed; else it has findings because nothing proves it
	Chips   []chip
	Keep    string // the command that keeps heads, and the one that verifies with them
	Command string
}

// verifyPage exports the events that match the filters, as a client does, and verifies them
// with the code of "perfgate audit verify".
func verifyPage(v *visit) error {
	b := verification{}
	q := v.auditQuery()
	for _, c := range auditFilters {
		if c.Value = q.Get(c.Name); c.Value != "" {
			b.Chips = append(b.Chips, c)
		}
	}
	var err error
	if b.Keep, err = lineFor(v, perfgate("audit", "head", "--output", "heads.jsonl")); err != nil {
		return err
	}
	// "verify" works offline and has no account; a line of the two would give it one.
	if b.Command, err = lineFor(v, auditExport(v, "ndjson")); err != nil {
		return err
	}
	b.Command += " && perfgate audit verify audit-logs.ndjson --head heads.jsonl"
	q.Set("format", "ndjson")
	if b.Report, err = verifyExport(v, q); err != nil {
		return err
	}
	b.Bad = b.Report != nil && slices.ContainsFunc(b.Report.Findings, func(f chain.Finding) bool { return f.Kind != chain.Unproven })
	return v.show("verify", "Verify the audit log", b)
}

// verifyExport verifies an export; nil if it is too large, or takes too long.
func verifyExport(v *visit, q url.Values) (*chain.Report, error) {
	ctx, stop := context.WithTimeout(v.context(), verifyTime)
	defer stop()
	r, err := reading(ctx, v, "/v1/audit-logs", q)
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	ended := make(chan struct{})
	go func() { // ends with the call, which breaks off once nobody reads the pipe
		defer close(ended)
		in.CloseWithError(pour(v.ui.cfg.API, in, r))
	}()
	report, err := export.Verify(http.MaxBytesReader(nil, out, maxVerified), chain.Trust{})
	late := ctx.Err() != nil && v.context().Err() == nil
	out.CloseWithError(errEnough)
	stop()
	<-ended
	if tooLong := (*http.MaxBytesError)(nil); late || errors.As(err, &tooLong) {
		return nil, nil
	}
	return report, err
}

// errEnough ends an export of which no more is read.
var errEnough = errors.New("enough was read")

// pour writes the answer of the API to a call into a pipe. Its error is the fault that the call met.
func pour(api http.Handler, in io.Writer, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil { // of a call that breaks off; it has logged what else went wrong
			err = &fault.Error{Code: fault.Unavailable, Message: "The export broke off; try again."}
		}
	}()
	kept := &unfaulty{ResponseWriter: &poured{http.Header{}, in}}
	api.ServeHTTP(kept, r)
	if f := kept.fault(r); f != nil {
		return f
	}
	return nil
}

// poured is an answer of which only the body is wanted.
type poured struct {
	header http.Header
	io.Writer
}

func (p *poured) Header() http.Header { return p.header }

func (p *poured) WriteHeader(int) {}

// CurlOf is the request that finds an event of the log, for a shell with PERFGATE_SERVER and
// PERFGATE_TOKEN; "" where it cannot be written. Events have no address of their own: their
// time, action and outcome find one, and those of the same millisecond.
func (p *page) CurlOf(e client.Event) string {
	q := url.Values{
		"start_date": {e.Time.UTC().Format(time.RFC3339Nano)}, "end_date": {e.Time.UTC().Add(time.Millisecond).Format(time.RFC3339Nano)},
		"action": {e.Action}, "outcome": {e.Outcome},
	}
	if e.KeyID != "" {
		q.Set("key", e.KeyID)
	}
	account := ""
	if p.visit.picked() {
		header, err := quote("X-Perf-Account: " + p.visit.account)
		if err != nil {
			return ""
		}
		account = " -H " + header
	}
	// No character of an encoded query means anything between double quotes.
	return `curl -sS -H "Authorization: Bearer $PERFGATE_TOKEN"` + account + ` "${PERFGATE_SERVER:-http://127.0.0.1:8081}/v1/audit-logs?` + q.Encode() + `"`
}
