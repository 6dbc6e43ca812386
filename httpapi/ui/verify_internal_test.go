package ui

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// TestVerifyOfPages: a verification reports what is wrong with an export, or why there was none,
// and leaves no call behind.
func TestVerifyOfPages(t *testing.T) {
	verify := func(api http.HandlerFunc) (found int, tooLarge bool, err error) {
		ended := make(chan struct{})
		v, _ := visitOf(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			api(w, r)
		})
		report, err := verifyExport(v, url.Values{"format": {"ndjson"}})
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("the call goes on")
		}
		if report != nil {
			found = len(report.Findings)
		}
		return found, report == nil && err == nil, err
	}
	if found, _, err := verify(func(w http.ResponseWriter, r *http.Request) { fault.Write(w, r, fault.New(fault.TooBusy)) }); found != 0 || fault.From(err).Code != fault.TooBusy {
		t.Errorf("a call that fails: %d, %v", found, err)
	}
	if _, _, err := verify(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); fault.From(err).Code != fault.Unavailable {
		t.Errorf("a call that breaks off: %v", err)
	}
	if found, _, err := verify(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{\"no\":\n")) }); found == 0 || err != nil {
		t.Errorf("an export that cannot be read: %d, %v", found, err)
	}
	line := []byte("{\"id\":\"" + strings.Repeat("x", 1<<20) + "\"}\n")
	if _, tooLarge, err := verify(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}); !tooLarge || err != nil {
		t.Errorf("an export without an end: %v, %v", tooLarge, err)
	}
}
