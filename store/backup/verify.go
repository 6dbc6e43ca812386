package backup

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

// Report describes a backup that was read from its beginning to its end.
type Report struct {
	Header
	Encrypted bool         `json:"encrypted"`
	Sealed    seal.Kind    `json:"encrypted_for,omitzero"`
	Rows      uint64       `json:"rows"`
	Bytes     int64        `json:"bytes"` // of the document, encryption aside
	Census    store.Census `json:"keys"`
}

// Verify reads all of a backup and reports its content.
func Verify(src io.Reader, with seal.With) (*Report, error) {
	r, err := NewReader(src, with)
	if err != nil {
		return nil, err
	}
	return r.Visit(r.Header.CreatedAt, nil)
}

// Visit is Verify for a reader, with the keys' states as of now. It shows each row
// to see, unless that is nil; k is the key in the row, nil if the row holds none
// or the key's account does not exist. An error of see ends the visit. The slices
// are valid during the call.
func (r *Reader) Visit(now time.Time, see func(row, value []byte, k *store.Key) error) (*Report, error) {
	out := &Report{Header: r.Header, Encrypted: r.Sealed != seal.Plain, Sealed: r.Sealed}
	for {
		key, value, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		k, err := out.Census.Add(key, value, now)
		if err == nil && see != nil {
			err = see(key, value, k)
		}
		if err != nil {
			return nil, fmt.Errorf("row %d of the backup: %w", r.Rows, err)
		}
	}
	out.Rows, out.Bytes = r.Rows, r.bytes()
	return out, nil
}

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s"+format+"\n", append([]any{name}, args...)...)
	}
	line("cluster", "%s", r.ClusterID)
	line("taken", "%s by %s, perfgate %s", r.CreatedAt.Format(time.RFC3339), r.Node, r.Version)
	line("index", "%d", r.Applied)
	c := &r.Census
	line("holds", "%d accounts, %d keys (%d active, %d disabled, %d expired, %d revoked)", c.Accounts, c.Keys, c.Active, c.Disabled, c.Expired, c.Revoked)
	line("encrypted", "%s", map[seal.Kind]string{seal.Plain: "no", seal.Passphrase: "yes, with a passphrase", seal.RecoveryKeys: "yes, for recovery keys"}[r.Sealed])
	line("whole", "yes: %d rows, %d bytes", r.Rows, r.Bytes)
	return b.String()
}

const nameTime = "20060102T150405Z"

var nameForm = regexp.MustCompile(`^perfgate-(.+)-(\d{8}T\d{6}Z)\.backup$`)

// Name is the file name of a cluster's backup of that time.
func Name(clusterID string, at time.Time) string {
	return "perfgate-" + clusterID + "-" + at.UTC().Format(nameTime) + ".backup"
}

// ParseName reads a name that [Name] made.
func ParseName(name string) (clusterID string, at time.Time, ok bool) {
	m := nameForm.FindStringSubmatch(name)
	if m == nil {
		return "", time.Time{}, false
	}
	at, err := time.Parse(nameTime, m[2])
	return m[1], at, err == nil
}
