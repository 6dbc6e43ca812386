// Package harness is shared by the tests that drive the built binary from outside
// (e2e, e2e/cluster and e2e/peers): it builds perfgate, runs its processes, makes HTTP calls
// and waits for events.
//
// It knows perfgate by its command line and its HTTP answers only, and imports none
// of its packages; no program imports it. A [Process] belongs to the test that made
// it and may be asked by several goroutines, but it is started and ended by one at a
// time. Its only goroutines wait for the ends of processes, and one keeps the
// thread that started them: see spawn.
package harness
