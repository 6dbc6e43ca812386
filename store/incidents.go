package store

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/chain"
)

// Incident returns an incident of an account; nil if there is none.
func (o *outbox) Incident(account AccountID, id IncidentID) (*Incident, error) {
	row, err := o.from.get(incidentRow(account, id))
	if row == nil || err != nil || !validID(id) {
		return nil, err
	}
	in := new(Incident)
	if err := json.Unmarshal(row, in); err != nil {
		return nil, fmt.Errorf("read the incident %s: %w", id, err)
	}
	return in, nil
}

// Incidents lists those of an account, at most [MaxIncidents], the newest first.
func (o *outbox) Incidents(account AccountID) (list []*Incident, err error) {
	err = o.from.scan(accountRows(rowIncident, account), func(_, value []byte) error {
		in := new(Incident)
		list = append(list, in)
		return json.Unmarshal(value, in)
	})
	if err != nil {
		return nil, fmt.Errorf("list the incidents of %s: %w", account, err)
	}
	slices.SortFunc(list, func(a, b *Incident) int { return int(b.Created) - int(a.Created) })
	return list, nil
}

// ErrNoSigner is the fault of a signature that is asked for before there is a key.
var ErrNoSigner = errors.New("the cluster has no signing key yet: its nodes are being formed or upgraded")

// Sign signs a text with the key of the audit log, and names the key. The text must begin
// with words that no other signed text begins with.
func (f *facts) Sign(text []byte) (key string, signature []byte, err error) {
	signer := f.settled.Load().signer()
	if signer == nil {
		return "", nil, ErrNoSigner
	}
	return chain.KeyID(signer.Public().(ed25519.PublicKey)), ed25519.Sign(signer, text), nil
}
