package nodetest_test

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
	"github.com/perfgate/perfgate/node/recovery"
	"github.com/perfgate/perfgate/store"
)

// waits checks that an erasure whose time has not come is as it was after all nodes were killed,
// and can be cancelled.
func (x *campaigner) waits() {
	x.t.Helper()
	mark := fmt.Sprintf("Wt%016x", x.chance.Uint64())
	account := x.fill(0, mark)
	api := x.c.API(x.c.Leader())
	api.Account = account
	e, err := client.Erasures{Client: api}.Create(x.t.Context(), client.NewErasure{Confirm: account, Everything: true})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, n := range x.c.Nodes {
		n.Kill()
	}
	x.revive("an erasure was scheduled")
	x.c.WaitHealthy()
	api = x.c.API(x.c.Leader())
	api.Account = account
	erasures := client.Erasures{Client: api}
	after, err := erasures.Get(x.t.Context(), e.ID)
	if err != nil || after.State != "scheduled" || !after.EffectiveAt.Equal(e.EffectiveAt) || after.EffectiveAt.Sub(after.RequestedAt) != store.ErasureNotice {
		x.t.Errorf("after kills the erasure is %+v, %v; was %+v", after, err, e)
	}
	if e, err = erasures.Cancel(x.t.Context(), e.ID); err != nil || e.State != "cancelled" {
		x.t.Errorf("cancelled, the erasure is %+v, %v", e, err)
	}
	for _, n := range x.c.Nodes {
		if len(holding(x.t, n.Dir, mark)) == 0 {
			x.t.Errorf("%s has lost the data of an erasure that was cancelled", n.Setup.Name)
		}
	}
}

// restores checks that a backup from before the last erasure comes back without its data: the
// ledgers of the nodes know of the erasure.
func (x *campaigner) restores(backup, ledgers string) {
	t := x.t
	one := nodetest.New(t, 1, func(_ int, s *nodetest.Setup) { s.Listen, s.Join = "", nil })
	n := one.Nodes[0]
	flags := recovery.RestoreFlags()
	names, err := filepath.Glob(filepath.Join(ledgers, "n*", "*.erasures"))
	if err != nil || len(names) != 3 {
		t.Fatalf("ledgers %q, %v", names, err)
	}
	if err := flags.Parse([]string{"--data-dir", n.Dir, "--force", "--erasures", names[x.chance.IntN(3)]}); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	console := recovery.Console{Out: &said, Err: &said, Env: func(string) (string, bool) { return "", false }}
	if err := recovery.RestoreCommand(console, flags, []string{backup}); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	if len(holding(t, n.Dir, x.marks...)) == 0 {
		t.Fatal("the backup holds nothing of the account: the test proves nothing")
	}
	if err := n.Try(); err != nil {
		t.Fatal(err)
	}
	one.Until("the restored node holds nothing of erased accounts", func() error {
		if found := holding(t, n.Dir, x.marks...); len(found) > 0 {
			return fmt.Errorf("%q", found)
		}
		return nil
	})
}
