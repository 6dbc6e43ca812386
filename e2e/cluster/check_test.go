package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkLimit bounds the search for one key's order; a key that needs longer is
// undecided, which is not a pass. The workload keeps the histories of keys so short
// that the search takes milliseconds: see looksAtOnce.
const checkLimit = time.Minute

// explainLimit bounds the search for an explanation of an illegal key. It takes as
// long as the check; the rest is for a loaded machine.
const explainLimit = 10 * time.Second

// verdict of a history.
type verdict struct {
	illegal   []string // keys with operations that no order explains
	late      int      // of these: explained by rights that were given before they were there, by up to a second
	undecided []string
	strange   []string
	files     []string      // to look at
	slowest   time.Duration // the longest search of a key
}

func (v *verdict) ok() bool { return len(v.illegal)+len(v.undecided)+len(v.strange) == 0 }

func (v *verdict) String() string {
	return fmt.Sprintf("illegal keys %v (%d of them because a right was given before it was there), undecided keys %v, answers that cannot be right:\n%s\nfiles:\n%s",
		v.illegal, v.late, v.undecided, strings.Join(v.strange, "\n"), strings.Join(v.files, "\n"))
}

// check judges h key by key. With keep set, a key that is not legal is
// written to files: its history as JSON and porcupine's visualisation as HTML.
func check(h *history, keep bool) (*verdict, error) {
	v := &verdict{strange: h.strange}
	m := model(h.nodes)
	ids, ops := h.byKey()
	dir := ""
	for _, id := range ids {
		list := steps(h, ops[id], 0)
		began := time.Now()
		result := porcupine.CheckOperationsTimeout(m, list, checkLimit)
		v.slowest = max(v.slowest, time.Since(began))
		switch result {
		case porcupine.Ok:
			continue
		case porcupine.Illegal:
			v.illegal = append(v.illegal, id)
			if porcupine.CheckOperationsTimeout(m, steps(h, ops[id], time.Second), explainLimit) == porcupine.Ok {
				v.late++
			}
		default:
			v.undecided = append(v.undecided, id)
			continue // a picture of it takes as long again, and shows nothing
		}
		if !keep || len(v.files) >= 6 { // three keys tell the story
			continue
		}
		if dir == "" {
			var err error
			if dir, err = os.MkdirTemp("", "perfgate-history-"); err != nil {
				return nil, err
			}
		}
		path, err := writeOps(dir, id+".JSON", ops[id])
		if err != nil {
			return nil, err
		}
		v.files = append(v.files, path)
		_, info := porcupine.CheckOperationsVerbose(m, finite(list), checkLimit)
		path = filepath.Join(dir, id+".html")
		if err := porcupine.VisualizePath(m, info, path); err != nil {
			return nil, err
		}
		v.files = append(v.files, path)
	}
	return v, nil
}

// finite draws operations that never returned to the end of the picture.
func finite(list []porcupine.Operation) []porcupine.Operation {
	end := int64(0)
	for _, o := range list {
		if o.Return != forever {
			end = max(end, o.Return)
		}
		end = max(end, o.Call)
	}
	out := append([]porcupine.Operation(nil), list...)
	for i := range out {
		if out[i].Return == forever {
			out[i].Return = end + int64(time.Millisecond)
		}
	}
	return out
}

// judge fails the test unless h is legal; an undecided history is not.
func judge(t testing.TB, h *history) {
	t.Helper()
	began := time.Now()
	v, err := check(h, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s; checked in %v, the slowest key in %v", h.summary(), time.Since(began).Round(time.Millisecond), v.slowest.Round(time.Millisecond))
	if !v.ok() {
		t.Fatalf("the history is not legal: %v", v)
	}
}
