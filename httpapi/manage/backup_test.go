package manage_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/seal"
)

func TestBackup(t *testing.T) {
	g := apitest.New(t, func(c *httpapi.Config) {
		c.Source = httpapi.Source{Node: "n1", Version: "1.2.3", Voters: func() []string { return []string{"a", "b"} }}
	})
	id, _ := g.Key("live", "read")
	a := g.Op("GET", "/v1/backup", "").Want(t, 200)
	r, err := backup.Verify(strings.NewReader(a.Body), seal.With{})
	apitest.Must(t, err)
	if r.ClusterID != "c" || r.Node != "n1" || r.Version != "1.2.3" || r.Applied != g.Store.Applied() || r.Census.Active == 0 || !strings.Contains(a.Body, id) {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(r.Voters, []string{"a", "b"}) {
		t.Errorf("voters %q", r.Voters)
	}
	if d := a.Header.Get("Content-Disposition"); d != `attachment; filename="`+r.Name()+`"` {
		t.Errorf("Content-Disposition %q", d)
	}
	if a := g.Op("HEAD", "/v1/backup", "").Want(t, 200); a.Body != "" {
		t.Error("HEAD has a body")
	}
	g.Op("GET", "/v1/backup?limit=1", "").Want(t, 422)
	apitest.Must(t, g.Local.Flush())
	if n := len(g.Events("?action=backup.read&outcome=success")); n != 2 {
		t.Errorf("%d events of backups that were read", n)
	}
}

// A backup more than two is refused, and every place is given back.
func TestBackupsAtOnce(t *testing.T) {
	g := apitest.New(t)
	h := &manage.Backup{Store: g.Store}
	frame := g.Frame()
	read := func() int {
		w := httptest.NewRecorder()
		frame.Serve(w, httptest.NewRequest("GET", "/v1/backup", nil), &rest.Route{ID: "backup", Method: "GET", Path: "/v1/backup", Access: rest.Open, Serve: h.Read}, "", true)
		return w.Code
	}
	h.SetSending(manage.MaxBackups)
	if status := read(); status != 503 {
		t.Errorf("with %d under way: %d", manage.MaxBackups, status)
	}
	h.SetSending(manage.MaxBackups - 1)
	if status := read(); status != 200 {
		t.Errorf("with one place free: %d", status)
	}
	if n := h.Sending(); n != manage.MaxBackups-1 {
		t.Errorf("%d places are taken", n)
	}
}

// short is a response that breaks off after some bytes.
type short struct {
	*httptest.ResponseRecorder
	left int
}

func (s *short) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		return 0, errors.New("the client is gone")
	}
	return s.ResponseRecorder.Write(b)
}

// A backup that breaks off is no whole backup, ends its connection, and gives its
// place back.
func TestBackupBreaksOff(t *testing.T) {
	g := apitest.New(t)
	var lines []string
	for i := range 2_000 {
		lines = append(lines, fmt.Sprintf(`{"name":"n","type":"live","key":"foreign-key-%010d"}`, i))
	}
	g.Op("POST", "/v1/keys/import", strings.Join(lines, "\n")).Want(t, 200)
	whole := len(g.Op("GET", "/v1/backup", "").Want(t, 200).Body)
	h := &manage.Backup{Store: g.Store, Node: "n1", Version: "1.2.3"}
	frame := g.Frame()
	for _, left := range []int{0, whole / 2, whole - 1} {
		w := &short{httptest.NewRecorder(), left}
		aborted := func() (v any) {
			defer func() { v = recover() }()
			frame.Serve(w, httptest.NewRequest("GET", "/v1/backup", nil), &rest.Route{ID: "backup", Method: "GET", Path: "/v1/backup", Access: rest.Open, Serve: h.Read}, "", true)
			return nil
		}()
		if left > 0 && aborted != http.ErrAbortHandler {
			t.Errorf("after %d of %d bytes the call ended with %v", left, whole, aborted)
		}
		if _, err := backup.Verify(w.Body, seal.With{}); err == nil {
			t.Errorf("%d of %d bytes pass for a backup", left, whole)
		}
		if n := h.Sending(); n != 0 {
			t.Errorf("%d places are taken", n)
		}
	}
}

// A store without a state has nothing to back up: the answer is an error, not an
// empty file.
func TestBackupOfNothing(t *testing.T) {
	g := apitest.New(t)
	empty, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "empty", Routes: admit.CompileRoutes, Logger: g.Config.Logger})
	apitest.Must(t, err)
	defer empty.Close()
	h := &manage.Backup{Store: empty}
	w := call(g.Frame(), h.Read, "GET", "")
	if w.Code != 500 || w.Header().Get("Content-Disposition") != "" || strings.Contains(w.Body.String(), "PERFGATE-BACKUP") || h.Sending() != 0 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !strings.Contains(g.Log.String(), "there is no state yet to back up") {
		t.Errorf("the cause is not in the log: %s", g.Log.String())
	}
}
