package serve

import "testing"

// checkTold fails unless the log was told of what the metrics count, and of a reason.
func (a *accepting) checkTold(t *testing.T, reason string) {
	t.Helper()
	_, c := a.conns.open()
	want := connCounts{int64(a.told["address"]), int64(a.told["idlest"]), int64(a.told["request"]), int64(a.told["refused"])}
	if c != want || a.told[reason] == 0 {
		t.Errorf("the log was told of %v, the metrics count %+v", a.told, c)
	}
}
