package mesh

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/perfgate/perfgate/store/losstest"
)

func TestCredentials(t *testing.T) {
	ca, other := newAuthority(t, "c1"), newAuthority(t, "c1")
	now := time.Now()
	c := ca.node(t, "a", now)
	if id, err := c.NodeID(); err != nil || id != "a" {
		t.Fatalf("got %q, %v", id, err)
	}
	if d := c.Expiry().Sub(now); d < nodeLife-2*time.Second || d > nodeLife {
		t.Errorf("it ends in %v", d)
	}
	for after, want := range map[time.Duration]bool{0: false, 19 * 24 * time.Hour: false, 21 * 24 * time.Hour: true, 31 * 24 * time.Hour: true} {
		if got := c.NeedsRenewal(now.Add(after)); got != want {
			t.Errorf("after %v renewal is due: %v", after, got)
		}
	}
	if none := (&Credentials{}); !none.NeedsRenewal(now) || !none.Expiry().IsZero() {
		t.Error("no certificate is a good one")
	}
	long := must2(NewCA("c1", now.Add(-365*24*time.Hour)))
	if _, err := (&authority{"c1", long[0], long[1]}).node(t, "a", now.Add(-40*24*time.Hour)).NodeID(); err != nil {
		t.Errorf("credentials that have ended cannot be read: %v", err)
	}
	d := ca.node(t, "a", now)
	for name, bad := range map[string]Credentials{
		"nothing":         {},
		"another key":     {c.ClusterID, c.CAs, c.Cert, d.Key},
		"no key":          {c.ClusterID, c.CAs, c.Cert, nil},
		"another CA":      {c.ClusterID, [][]byte{other.cert}, c.Cert, c.Key},
		"no CA":           {c.ClusterID, nil, c.Cert, c.Key},
		"three CAs":       {c.ClusterID, [][]byte{ca.cert, ca.cert, ca.cert}, c.Cert, c.Key},
		"a node for a CA": {c.ClusterID, [][]byte{ca.cert, c.Cert}, c.Cert, c.Key},
		"another cluster": {"c2", c.CAs, c.Cert, c.Key},
		"a CA's own":      {c.ClusterID, c.CAs, ca.cert, ca.key},
		"a damaged leaf":  {c.ClusterID, c.CAs, c.Cert[:100], c.Key},
		"a damaged CA":    {c.ClusterID, [][]byte{ca.cert[:100]}, c.Cert, c.Key},
	} {
		if _, err := bad.NodeID(); err == nil {
			t.Errorf("%s: taken", name)
		}
		if err := bad.Save(vfs.NewMem(), ""); err == nil {
			t.Errorf("%s: saved", name)
		}
	}
}

func must2(a, b []byte, err error) [2][]byte {
	if err != nil {
		panic(err)
	}
	return [2][]byte{a, b}
}

func TestSignNode(t *testing.T) {
	ca := newAuthority(t, "c1")
	key := must(NewNodeKey())
	csr := must(NewRequest(key, "a"))
	spoilt := slices.Clone(csr)
	spoilt[len(spoilt)-1] ^= 1
	for name, f := range map[string]func() ([]byte, error){
		"another's request": func() ([]byte, error) { return SignNode(ca.cert, ca.key, "c1", "b", csr, time.Now()) },
		"a spoilt one":      func() ([]byte, error) { return SignNode(ca.cert, ca.key, "c1", "a", spoilt, time.Now()) },
		"a strange id":      func() ([]byte, error) { return SignNode(ca.cert, ca.key, "c1", "a/b", csr, time.Now()) },
		"a strange cluster": func() ([]byte, error) { return SignNode(ca.cert, ca.key, "c 1", "a", csr, time.Now()) },
		"nonsense":          func() ([]byte, error) { return SignNode(ca.cert, ca.key, "c1", "a", []byte("x"), time.Now()) },
		"another CA's key": func() ([]byte, error) {
			return SignNode(ca.cert, newAuthority(t, "c1").key, "c1", "a", csr, time.Now())
		},
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := SignNode(ca.cert, ca.key, "c1", "a", csr, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestSaveCredentials(t *testing.T) {
	ca := newAuthority(t, "c1")
	dir := t.TempDir()
	defer syscall.Umask(syscall.Umask(0))
	if _, err := LoadCredentials(vfs.Default, dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing is there: %v", err)
	}
	for range 2 {
		want := ca.node(t, "a", time.Now())
		want.CAs = append(want.CAs, newAuthority(t, "c1").cert)
		if err := want.Save(vfs.Default, dir); err != nil {
			t.Fatal(err)
		}
		got, err := LoadCredentials(vfs.Default, dir)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	filepath.Walk(filepath.Join(dir, credsDir), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err := os.WriteFile(filepath.Join(dir, credsDir, credsFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCredentials(vfs.Default, dir); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a damaged file: %v", err)
	}
}

// stopFS crashes at the n-th operation that writes.
type stopFS struct {
	vfs.FS
	mem   *losstest.Mem
	left  int
	after *losstest.Mem
}

func (f *stopFS) op() {
	if f.left--; f.left == 0 {
		f.after = f.mem.CrashClone(vfs.CrashCloneCfg{})
	}
}

func (f *stopFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.op()
	file, err := f.FS.Create(name, c)
	return stopFile{file, f}, err
}

func (f *stopFS) Rename(a, b string) error {
	f.op()
	err := f.FS.Rename(a, b)
	f.op()
	return err
}

type stopFile struct {
	vfs.File
	fs *stopFS
}

func (f stopFile) Write(b []byte) (int, error) {
	f.fs.op()
	n, err := f.File.Write(b)
	f.fs.op()
	return n, err
}

func (f stopFile) Sync() error {
	f.fs.op()
	return f.File.Sync()
}

// A crash leaves the old credentials or the new ones.
func TestSaveCrash(t *testing.T) {
	ca := newAuthority(t, "c1")
	one, two := ca.node(t, "a", time.Now()), ca.node(t, "a", time.Now())
	for n := 1; ; n++ {
		mem := losstest.NewMem()
		if err := mem.MkdirAll("data", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syncDir(mem, ""); err != nil {
			t.Fatal(err)
		}
		if err := one.Save(mem, "data"); err != nil {
			t.Fatal(err)
		}
		fs := &stopFS{FS: mem, mem: mem, left: n}
		if err := two.Save(fs, "data"); err != nil {
			t.Fatal(err)
		}
		if fs.after == nil {
			if n < 6 {
				t.Fatalf("only %d places to crash at", n)
			}
			got, err := LoadCredentials(mem.CrashClone(vfs.CrashCloneCfg{}), "data")
			if err != nil || !bytes.Equal(got.Cert, two.Cert) {
				t.Fatalf("what Save promised is not there: %v", err)
			}
			return
		}
		got, err := LoadCredentials(fs.after, "data")
		if err != nil || !reflect.DeepEqual(got, one) && !reflect.DeepEqual(got, two) {
			t.Fatalf("crash %d: %v", n, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	ca := newAuthority(f, "c1")
	mem := vfs.NewMem()
	c := ca.node(f, "a", time.Now())
	if err := c.Save(mem, ""); err != nil {
		f.Fatal(err)
	}
	file, err := mem.Open(mem.PathJoin(credsDir, credsFile))
	if err != nil {
		f.Fatal(err)
	}
	raw := make([]byte, 16<<10)
	n, _ := file.Read(raw)
	f.Add(raw[:n])
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := decodeCredentials(raw); err == nil {
			if _, err := c.NodeID(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
