package limiter

import (
	"bytes"
	"testing"
)

func TestImportOfRubbishChangesNothing(t *testing.T) {
	m := NewMeter()
	a := at(0, Limit{PerMinute: 60})
	a.Own = Limit{PerMinute: 60}
	m.Take(a)
	good := m.Export(bootTime, nil)
	for n := range good {
		fresh := NewMeter()
		err := fresh.Import(good[:n], bootTime, 0)
		if cut := fresh.Export(bootTime, nil); err != nil && len(cut) > 0 {
			t.Errorf("%d bytes: %v, and yet %x was taken over", n, err, cut)
		} else if err == nil && !bytes.Equal(cut, good[:n]) && n > 1 {
			t.Errorf("%d bytes: taken over as %x", n, cut)
		}
	}
	if got := NewMeter().Export(bootTime, []byte("x")); string(got) != "x" {
		t.Errorf("nothing in use is exported as %q", got)
	}
}

// A bucket that was touched before the import is newer than the imported one.
func TestImportDoesNotOverwrite(t *testing.T) {
	m := NewMeter()
	a := at(0, Limit{PerMinute: 60})
	m.Take(a)
	export := m.Export(bootTime, nil)
	if d := m.Take(a); !d.Pending || d.NWants != 0 {
		t.Errorf("after the export: %+v", d)
	}
	m, a.Units = NewMeter(), 31
	m.Take(a)
	if err := m.Import(export, bootTime, 0); err != nil {
		t.Fatal(err)
	}
	a.Units = 0
	if d := m.Take(a); d.States[0].Remaining != 29 {
		t.Errorf("%+v", d)
	}
}

func FuzzImport(f *testing.F) {
	m := NewMeter()
	a := at(0, Limit{PerMinute: 60})
	a.Own = Limit{PerMinute: 7}
	m.Take(a)
	f.Add(m.Export(bootTime, nil))
	b := NewBuckets(64)
	b.Take(NameOf("a"), Pace{Limit: 5, Window: 60e9}, 3, bootTime, Forever)
	f.Add(b.Export(bootTime, nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		m := NewMeter()
		if m.Import(p, bootTime, 0) == nil {
			out := m.Export(bootTime, nil)
			if again := NewMeter(); len(out) > 0 {
				if err := again.Import(out, bootTime, 0); err != nil || !bytes.Equal(again.Export(bootTime, nil), out) {
					t.Fatalf("an export does not come back: %v", err)
				}
			}
			m.Take(at(0, Limit{PerMinute: 1}))
		}
		if b := NewBuckets(64); b.Import(p, bootTime, 0) == nil {
			b.Export(bootTime+1, nil)
			b.Prune(bootTime + 1)
		}
	})
}
