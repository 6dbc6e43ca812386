package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

func utf16(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, c := range []byte(s) {
		out = append(out, c, 0)
	}
	return out
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	live, test := apikey.New(apikey.LivePrefix), apikey.New(apikey.TestPrefix)
	bad := live[:len(live)-1] + "!"
	put(t, dir, "a/env", []byte("X=1\nKEY="+live+"\n# "+test+"\n"))
	put(t, dir, "b.bin", append(append([]byte{0, 1, 0xff, '\n', 0}, live...), 0xfe))
	put(t, dir, "c.ps1", utf16("line\r\n$k = \""+test+"\"\r\n"))
	put(t, dir, "d/clean", []byte("pk_ pk_live_ pk_live_0123456789\n"+bad+"\n"+strings.Repeat("pk_live_", 30)))
	put(t, dir, "e/empty", nil)
	put(t, dir, "odd\nname", []byte(live))
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	got := perfgate(t, "", nil, "scan", dir)
	want := []string{
		filepath.Join(dir, "a/env") + ":2:" + apikey.Hint(live),
		filepath.Join(dir, "a/env") + ":3:" + apikey.Hint(test),
		filepath.Join(dir, "b.bin") + ":2:" + apikey.Hint(live),
		filepath.Join(dir, "c.ps1") + ":2:" + apikey.Hint(test),
		filepath.Join(dir, "odd?name") + ":1:" + apikey.Hint(live),
	}
	if got.code != 1 || got.out != strings.Join(want, "\n")+"\n" || !strings.Contains(got.err, "5 keys in 4 files") {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", got.code, got.out, got.err, strings.Join(want, "\n"))
	}
	if strings.Contains(got.out+got.err, live) {
		t.Error("a key is printed")
	}
	if got := perfgate(t, "", nil, "scan", filepath.Join(dir, "d"), filepath.Join(dir, "e")); got.code != 0 || got.out+got.err != "" {
		t.Errorf("a clean directory: %+v", got)
	}
	if got := perfgate(t, "", nil, "scan", filepath.Join(dir, "link")); got.code != 1 || !strings.Contains(got.out, "env:2:") {
		t.Errorf("a link that is named: %+v", got)
	}
	if got := perfgate(t, "x "+live, nil, "scan", "--json", "-"); got.code != 1 || got.out != fmt.Sprintf("{\"path\":\"stdin\",\"line\":1,\"hint\":%q}\n", apikey.Hint(live)) {
		t.Errorf("stdin: %+v", got)
	}
	if got := perfgate(t, "", nil, "scan", filepath.Join(dir, "none"), dir); got.code != 1 || !strings.Contains(got.err, "no such file") || !strings.Contains(got.out, "env:2:") {
		t.Errorf("a path that is not there: %+v", got)
	}
	if got := perfgate(t, "", nil, "scan", "--max-size", "60", filepath.Join(dir, "a")); got.code != 0 || !strings.Contains(got.err, "skipped") {
		t.Errorf("a large file: %+v", got)
	}
}

// Keys are found wherever the reads of a stream happen to cut it.
func TestScanCuts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 200 {
		var data bytes.Buffer
		var want strings.Builder
		line := 1
		for range rnd.IntN(20) {
			for range rnd.IntN(300) {
				c := "pk_live_test0\n\x00"[rnd.IntN(15)]
				data.WriteByte(c)
				if c == '\n' {
					line++
				}
			}
			key := apikey.New(apikey.LivePrefix)
			data.WriteString(key)
			fmt.Fprintf(&want, "x:%d:%s\n", line, apikey.Hint(key))
		}
		var out bytes.Buffer
		s := &scan{app: &app{Config: Config{Stdout: &out, Stderr: io.Discard}}, buf: make([]byte, apikey.Len+rnd.IntN(200))}
		var r io.Reader = bytes.NewReader(data.Bytes())
		switch round % 3 {
		case 1:
			r = iotest.OneByteReader(r)
		case 2:
			r = iotest.DataErrReader(r)
		}
		s.search("x", r)
		if out.String() != want.String() {
			t.Fatalf("found\n%swant\n%s", out.String(), want.String())
		}
	}
}

// Paths that cannot be read are reported, the others are searched, and the exit
// code tells of them.
func TestScanUnreadable(t *testing.T) {
	dir := t.TempDir()
	key := apikey.New(apikey.LivePrefix)
	put(t, dir, "good", []byte(key))
	got := perfgate(t, "", nil, "scan", filepath.Join(dir, "none"), filepath.Join(dir, "good"))
	if got.code != 1 || !strings.Contains(got.err, "none: no such file or directory\n") || !strings.Contains(got.out, "good:1:") {
		t.Errorf("%+v", got)
	}
	if got := perfgate(t, "", nil, "scan", filepath.Join(dir, "none")); got.code != 1 || !strings.Contains(got.err, "1 path could not be read") {
		t.Errorf("%+v", got)
	}
	if os.Geteuid() == 0 {
		return // reads everything
	}
	put(t, dir, "closed/file", []byte(key))
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "closed"), 0o700) })
	if got := perfgate(t, "", nil, "scan", dir); got.code != 1 || !strings.Contains(got.err, "permission denied") || !strings.Contains(got.out, "good:1:") {
		t.Errorf("%+v", got)
	}
}

// Links inside a directory, devices and pipes are not followed.
func TestScanSkipsSpecialFiles(t *testing.T) {
	outside := put(t, t.TempDir(), "key", []byte(apikey.New(apikey.LivePrefix)))
	dir := t.TempDir()
	for name, target := range map[string]string{"link": outside, "dir": filepath.Dir(outside), "broken": "/nonexistent", "zero": "/dev/zero"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := perfgate(t, "", nil, "scan", dir); got.code != 0 || got.out+got.err != "" {
		t.Errorf("%+v", got)
	}
	if got := perfgate(t, "", nil, "scan", filepath.Join(dir, "link")); got.code != 1 || !strings.Contains(got.out, "link:1:") {
		t.Errorf("a link in the arguments: %+v", got)
	}
	if got := perfgate(t, "", nil, "scan", filepath.Join(dir, "dir")); got.code != 1 || !strings.Contains(got.out, "key:1:") {
		t.Errorf("a link to a directory in the arguments: %+v", got)
	}
}

// Only the first skipped files are named, and all are counted.
func TestScanLargeFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range scanSkipped + 5 {
		put(t, dir, fmt.Sprint(i), []byte("four"))
	}
	key := apikey.New(apikey.TestPrefix)
	small := put(t, t.TempDir(), "k", []byte(key))
	got := perfgate(t, "", nil, "scan", "--max-size", "3", dir)
	if got.code != 0 || strings.Count(got.err, "skipped because it has 4 bytes; see --max-size") != scanSkipped || !strings.Contains(got.err, "25 files were skipped") {
		t.Errorf("%+v", got)
	}
	if got := perfgate(t, "", nil, "scan", "--max-size", fmt.Sprint(len(key)), small); got.code != 1 || got.err != "perfgate: found 1 key in 1 file; rotate or revoke them\n" {
		t.Errorf("a file of exactly the maximum size: %+v", got)
	}
	if got := perfgate(t, "", nil, "scan", "--max-size", "0", dir); got.code != 2 || !strings.Contains(got.err, "--max-size 0: must be 1 or more") {
		t.Errorf("%+v", got)
	}
}

func TestScanInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	path := put(t, t.TempDir(), "k", []byte(apikey.New(apikey.TestPrefix)))
	if code := Execute(ctx, Config{Stdout: &out, Stderr: &out, Env: os.LookupEnv}, []string{"scan", path}); code != 1 || !strings.Contains(out.String(), "context canceled") {
		t.Errorf("exit code %d, %s", code, out.String())
	}
}

func BenchmarkScan(b *testing.B) {
	data := bytes.Repeat([]byte("some text with pk_ in it, and a line end\n"), 25_000)
	s := &scan{app: &app{Config: Config{Stdout: io.Discard, Stderr: io.Discard}}, buf: make([]byte, scanBuffer)}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s.search("x", bytes.NewReader(data))
	}
}
