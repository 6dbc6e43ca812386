package store

import (
	"bytes"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/chain"
)

// Roster is the cluster in the rows of a backup; see [Roster.Add].
type Roster struct {
	ClusterID string
	CA        []byte      // nil if no other node was ever let in
	Members   []Member    // by name, without those that were removed
	AuditKeys []chain.Key // that have signed the audit log, oldest first
}

// Add takes the next row of the backup.
func (r *Roster) Add(row, value []byte) error {
	if !bytes.Equal(row, settingsRow) {
		return nil
	}
	var set settings
	if err := json.Unmarshal(value, &set); err != nil {
		return err
	}
	r.ClusterID, r.CA = set.ClusterID, set.CA
	r.Members, r.AuditKeys = set.present(), set.AuditKeys
	return nil
}
