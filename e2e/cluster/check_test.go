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
// undecided, and that is no pass.
const checkLimit = time.Minute

// explainLimit bounds the search for an explanation of what is illegal.
const explainLimit = 2 * time.Second

// verdict of a history.
type verdict struct {
	illegal   []string // keys whose operations no order explains
	late      int      // of these: explained by rights that were given before they were there, by up to a second
	undecided []string
	strange   []string
	files     []string // what to look at
}

func (v *verdict) ok() bool { return len(v.illegal)+len(v.undecided)+len(v.strange) == 0 }

func (v *verdict) String() string {
	return fmt.Sprintf("illegal keys %v (%d of them because a right was given before it was there), undecided keys %v, answers that cannot be right:\n%s\nfiles:\n%s",
		v.illegal, v.late, v.undecided, strings.Join(v.strange, "\n"), strings.Join(v.files, "\n"))
}

// check judges h key by key. With keep set, what is not legal is written to
// files: the history as JSON and porcupine's visualisation as HTML.
func check(h *history, keep bool) (*verdict, error) {
	v := &verdict{strange: h.strange}
	m := model(h.nodes)
	ids, ops := h.byKey()
	dir := ""
	for _, id := range ids {
		list := steps(h, ops[id], 0)
		result := porcupine.CheckOperationsTimeout(m, list, checkLimit)
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
		path, err := writeOps(dir, id+".json", ops[id])
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

// finite draws what never returned to the end of the picture.
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

// judge fails the test unless h is legal.
//
// It reports false for a history that no fault was found in, and that is too
// entangled to be judged whole in time: it counts as little as one that was not
// made.
func judge(t testing.TB, h *history) (decided bool) {
	t.Helper()
	began := time.Now()
	v, err := check(h, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s; checked in %v", h.summary(), time.Since(began).Round(time.Millisecond))
	if len(v.illegal)+len(v.strange) > 0 {
		t.Fatalf("the history is not legal: %v", v)
	}
	return v.ok()
}
