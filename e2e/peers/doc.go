// Package peers measures perfgate beside nginx and HAProxy on one machine: make
// bench-proxy. It consists of tests for Linux, with the helpers of e2e/harness, and
// needs Debian's nginx, haproxy, wrk and strace.
//
//	PERFGATE_E2E_PEERS=1     runs it; without, everything here is skipped
//	FIGURES=small,tls,…      these figures only; see figures in bench_linux_test.go
//	ROUNDS=n, SECONDS=n      rounds of a figure (5) and seconds of a round (2)
//	PERFGATE_SEED=n          repeats the order and the schedule of an earlier run
//	PERFGATE_BINARY=path     measures that binary instead of building one
//
// # What is compared
//
// The three proxies have the same features on: a table of 1,000 keys, a check of the
// client's address, a rate limit for each key, a header that reports it, and headers
// set and removed for the upstream; nobody writes an access log, and perfgate keeps
// its request audit, which the others do not have. Their configurations are in
// testdata.
//
// The upstream is a program of its own (this test binary once more): one thread with
// one epoll, which answers from memory. nginx with "return 200" would do, but costs
// twice as much, and what the upstream takes from the shared cores brings the figures
// of the proxies closer together.
//
// # Rules
//
// Each round measures all proxies one after the other, in random order. A figure is the
// median over the rounds, and a ratio is the median of the rounds' ratios: what a
// neighbor does to the machine for a minute meets all of them. The processor time of a
// proxy is that of all its processes, from /proc. What others took meanwhile, in cores,
// is printed with each round and stands in the table.
//
// As root, everything runs in a network namespace of its own, so that no firewall and
// no other traffic takes part; otherwise on the loopback interface.
package peers
