package nodetest_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/perfgate/perfgate/node/nodetest"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/seal"
)

// A backup names the voters of the cluster, which a restore asks whether they run.
func TestBackupNamesVoters(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	var file bytes.Buffer
	if err := c.API(c.Follower()).Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	r, err := backup.Verify(&file, seal.With{})
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Clone(r.Voters)
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 3 {
		t.Errorf("voters %q, want three", r.Voters)
	}
}
