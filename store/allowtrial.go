package store

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// LevelOfTrials is the level of nodes that know allowlists on trial.
const LevelOfTrials = 8

// The bounds of the time in which a trial must be confirmed.
const (
	MinTrial = 10 * time.Second
	MaxTrial = 24 * time.Hour
)

// AllowTrial is an allowlist that is in force, and that gives way to the one before it
// unless somebody confirms it in time.
type AllowTrial struct {
	Account   AccountID `json:"account"`
	ConfirmBy time.Time `json:"confirm_by"`
	SetAt     time.Time `json:"set_at"`
	SetBy     Actor     `json:"set_by"` // without its name
	Index     uint64    `json:"index"`  // of the change
}

// AllowlistSize is the size of a list where it is stored, in bytes.
func AllowlistSize(list []AllowEntry) int64 { return int64(len(packAllowlist(list, 0))) }

// AllowTrials reads trials.
type AllowTrials struct{ from *Store }

// TrialsIn returns what reads the trials in s.
func TrialsIn(s *Store) AllowTrials { return AllowTrials{s} }

// Get returns an account's trial; nil if there is none.
func (r AllowTrials) Get(account AccountID) (*AllowTrial, error) {
	row, err := r.from.get(named(rowTrial, account))
	if row == nil || err != nil {
		return nil, err
	}
	return decodeTrial(row)
}

// Before returns the list that comes back if an account's trial is not confirmed.
func (r AllowTrials) Before(account AccountID) ([]AllowEntry, error) {
	row, err := r.from.get(named(rowAllowBefore, account))
	if err != nil {
		return nil, fmt.Errorf("read the allowlist of %s from before its trial: %w", account, err)
	}
	list, _, err := unpackAllowlist(row)
	return list, err
}

// Over lists the trials whose time is over at now.
func (r AllowTrials) Over(now time.Time) (list []*AllowTrial, err error) {
	err = r.from.scan([]byte{rowTrial}, func(_, value []byte) error {
		t, err := decodeTrial(value)
		if err == nil && !now.Before(t.ConfirmBy) {
			list = append(list, t)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the allowlists on trial: %w", err)
	}
	return list, nil
}

func decodeTrial(row []byte) (*AllowTrial, error) {
	t := new(AllowTrial)
	if err := json.Unmarshal(row, t); err != nil {
		return nil, fmt.Errorf("read the trial of an allowlist: %w", err)
	}
	return t, nil
}
