// Package peers measures perfgate beside nginx and HAProxy on one machine: make
// bench-proxy. It consists of tests for Linux, with the helpers of e2e/harness, and
// needs Debian's nginx, haproxy, wrk and strace.
//
//	PERFGATE_E2E_PEERS=1     runs it; without, only the tests of its helpers run
//	FIGURES=small,tls,…      some of: small 512 16k 1m post16k post1m upload chunked tls
//	                         syscalls allocs latency audit idle idletls race
//	ROUNDS=n, SECONDS=n      rounds of a figure (5) and seconds of a round (2)
//	PERFGATE_SEED=n          repeats the order and the schedule of an earlier run
//	PERFGATE_BINARY=path     measures that binary instead of building one
//	PERFGATE_BASELINE=path   measures that one too, as "before"
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
// one epoll, which answers from memory. nginx with "return 200" would do for small
// answers, but takes 4 µs of the shared cores for each instead of 3, and what the upstream
// takes brings the figures of the proxies closer together.
//
// # Rules
//
// Each round measures all proxies one after the other, in random order. A figure is the
// median over the rounds, and a ratio is the median of the rounds' ratios: what a
// neighbor does to the machine for a minute meets all of them. The processor time of a
// proxy is that of all its processes, from /proc. What others took meanwhile, in cores,
// is printed with each round and stands in the table.
//
// As root, everything runs in namespaces of its own: a network, so that no firewall and
// no other traffic takes part, and processes, which the kernel ends together. Otherwise
// it runs on the loopback interface of the machine.
//
// # Goroutines
//
// The test measures from one goroutine. The exceptions are the clients of the figures of
// memory and system calls, one for each connection or eight for all, and those of the
// race: the upstream's connections, and one that closes a connection while the test
// waits for the answer.
package peers
