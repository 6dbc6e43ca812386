package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

const content = "what is in the file"

// sealed is a file for to, and what opens that one file.
func sealed(t *testing.T, to To) ([]byte, With) {
	t.Helper()
	to.Work = 2
	var out bytes.Buffer
	w, with, err := to.Seal(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), with
}

func opened(raw []byte, with With) (string, Kind, error) {
	r, kind, err := with.Open(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return "", kind, err
	}
	text, err := io.ReadAll(r)
	return string(text), kind, err
}

type pair struct{ public, private string }

func x25519(t *testing.T) pair {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return pair{id.Recipient().String(), id.String()}
}

func hybrid(t *testing.T) pair {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return pair{id.Recipient().String(), id.String()}
}

func (p pair) with(t *testing.T) With {
	t.Helper()
	list, err := ParseIdentities([]byte("# created: today\r\n# public key: " + p.public + "\r\n" + p.private + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return With{Identities: list}
}

// A file opens with its passphrase, or with each of its recovery keys, and with nothing
// else; the error says which of them is needed.
func TestOpen(t *testing.T) {
	a, b, other, pq := x25519(t), x25519(t), x25519(t), hybrid(t)
	for name, c := range map[string]struct {
		to   To
		with With
		kind Kind
		says string // of the error; "" opens
	}{
		"passphrase":                        {To{Passphrase: "right"}, With{Passphrase: "right"}, Passphrase, ""},
		"passphrase, and an identity":       {To{Passphrase: "right"}, With{Passphrase: "right", Identities: a.with(t).Identities}, Passphrase, ""},
		"no passphrase":                     {To{Passphrase: "right"}, With{}, Passphrase, "its passphrase is needed (PERFGATE_BACKUP_PASSPHRASE or --passphrase-file FILE)"},
		"another passphrase":                {To{Passphrase: "right"}, With{Passphrase: "Right"}, Passphrase, "with another passphrase than the given one"},
		"an identity for a passphrase":      {To{Passphrase: "right"}, a.with(t), Passphrase, "its passphrase is needed"},
		"the first recipient":               {To{Recipients: []string{a.public, b.public}}, a.with(t), RecoveryKeys, ""},
		"the second recipient":              {To{Recipients: []string{a.public, b.public}}, b.with(t), RecoveryKeys, ""},
		"a post-quantum recipient":          {To{Recipients: []string{pq.public}}, pq.with(t), RecoveryKeys, ""},
		"no identity":                       {To{Recipients: []string{a.public}}, With{Passphrase: "right"}, RecoveryKeys, "the private part of one of them is needed (--identity FILE)"},
		"another identity":                  {To{Recipients: []string{a.public}}, other.with(t), RecoveryKeys, "for other recovery keys than the given identity"},
		"another identity, post-quantum":    {To{Recipients: []string{pq.public}}, other.with(t), RecoveryKeys, "for other recovery keys"},
		"one of several identities of ours": {To{Recipients: []string{a.public}}, With{Identities: append(other.with(t).Identities, a.with(t).Identities...)}, RecoveryKeys, ""},
	} {
		raw, own := sealed(t, c.to)
		if bytes.Contains(raw, []byte(content)) {
			t.Fatalf("%s: the file is not encrypted", name)
		}
		text, kind, err := opened(raw, c.with)
		if kind != c.kind {
			t.Errorf("%s: kind %q, want %q", name, kind, c.kind)
		}
		if c.says == "" && (err != nil || text != content) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if c.says != "" && (!errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if text, _, err := opened(raw, own); err != nil || text != content {
			t.Errorf("%s: its writer reads %q, %v", name, text, err)
		}
		again, _ := sealed(t, c.to)
		if _, _, err := opened(again, own); err == nil {
			t.Errorf("%s: what opens one file opens another", name)
		}
	}
	if text, kind, err := opened([]byte(content), With{Passphrase: "not needed"}); err != nil || text != content || kind != Plain {
		t.Errorf("a plain file: %q, %q, %v", text, kind, err)
	}
}

// Each flipped bit and each cut is an error.
func TestDamage(t *testing.T) {
	a := x25519(t)
	raw, own := sealed(t, To{Recipients: []string{a.public}})
	for i := len(magic); i < len(raw); i++ {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		for _, with := range []With{a.with(t), own} {
			if text, _, err := opened(bad, with); err == nil {
				t.Fatalf("octet %d: %q", i, text)
			}
		}
		if text, _, err := opened(raw[:i], a.with(t)); err == nil {
			t.Fatalf("cut at %d: %q", i, text)
		}
	}
}

// What cannot be a recipient is refused, and a private key is not repeated.
func TestCheck(t *testing.T) {
	a, b, pq := x25519(t), x25519(t), hybrid(t)
	many := make([]string, MaxRecipients+1)
	for i := range many {
		many[i] = x25519(t).public
	}
	for name, c := range map[string]struct {
		to   To
		says string
	}{
		"nobody":             {To{}, "1 to 16 recipients"},
		"too many":           {To{Recipients: many}, "1 to 16 recipients"},
		"both":               {To{Passphrase: "x", Recipients: []string{a.public}}, "either a passphrase or recipients"},
		"twice":              {To{Recipients: []string{a.public, b.public, a.public}}, "recipient 3 is listed twice"},
		"a private key":      {To{Recipients: []string{a.private}}, "this is the private one"},
		"in lower case":      {To{Recipients: []string{strings.ToLower(a.private)}}, "this is the private one"},
		"an SSH key":         {To{Recipients: []string{"ssh-ed25519 AAAA"}}, "the public key that age-keygen prints"},
		"a typing error":     {To{Recipients: []string{a.public[:len(a.public)-1] + "b"}}, "the public key that age-keygen prints"},
		"two lines":          {To{Recipients: []string{a.public + "\n" + b.public}}, "the public key that age-keygen prints"},
		"empty":              {To{Recipients: []string{""}}, "the public key that age-keygen prints"},
		"one classic of two": {To{Recipients: []string{pq.public, a.public}}, "the weakest one decides"},
	} {
		err := c.to.Check()
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(strings.ToUpper(err.Error()), a.private) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if _, _, err := c.to.Seal(io.Discard); err == nil {
			t.Errorf("%s: is sealed", name)
		}
	}
	for name, to := range map[string]To{"two": {Recipients: []string{a.public, b.public}}, "post-quantum": {Recipients: []string{pq.public}}, "a passphrase": {Passphrase: "x"}} {
		if err := to.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !(To{}).None() || (To{Passphrase: "x"}).None() || (To{Recipients: []string{a.public}}).None() {
		t.Error("None is wrong")
	}
	if got := (To{Passphrase: "hidden"}).String(); strings.Contains(got, "hidden") {
		t.Errorf("a passphrase is shown: %s", got)
	}
}

// A file may not ask its reader for more work than the bound.
func TestCostlyFile(t *testing.T) {
	raw, _ := sealed(t, To{Passphrase: "secret"})
	costly := bytes.Replace(raw, []byte(" 2\n"), fmt.Appendf(nil, " %d\n", maxWorkFactor+1), 1)
	if bytes.Equal(costly, raw) {
		t.Fatal("the work factor is not where the test looks for it")
	}
	began := time.Now()
	if _, _, err := opened(costly, With{Passphrase: "secret"}); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("a costly file: %v after %v", err, time.Since(began))
	}
}

func TestParseIdentities(t *testing.T) {
	a := x25519(t)
	closed, _ := sealed(t, To{Passphrase: "x"})
	for name, c := range map[string]struct{ text, says string }{
		"nothing":       {"", "lines \"AGE-SECRET-KEY-…\""},
		"a public key":  {a.public, "lines \"AGE-SECRET-KEY-…\""},
		"half a key":    {a.private[:40], "lines \"AGE-SECRET-KEY-…\""},
		"encrypted":     {string(closed), "decrypt it first"},
		"armored":       {"-----BEGIN AGE ENCRYPTED FILE-----\nx", "decrypt it first"},
		"a passphrase?": {"correct horse", "lines \"AGE-SECRET-KEY-…\""},
	} {
		if _, err := ParseIdentities([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) || c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The age library opens the files, and its files open here.
func TestAgeFiles(t *testing.T) {
	a := x25519(t)
	raw, _ := sealed(t, To{Recipients: []string{a.public}})
	id, err := age.ParseX25519Identity(a.private)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(raw), id)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != content {
		t.Errorf("%q, %v", text, err)
	}
	var theirs bytes.Buffer
	w, err := age.Encrypt(&theirs, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, content)
	w.Close()
	if text, _, err := opened(theirs.Bytes(), a.with(t)); err != nil || text != content {
		t.Errorf("%q, %v", text, err)
	}
}
