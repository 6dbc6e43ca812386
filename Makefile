# perfgate: everything a person or CI does, in one place.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD   := $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
BENCH   ?= .
COUNT   ?= 1
FUZZTIME ?= 30s
LARGE   ?= /var/tmp/perfgate-bench

PREFIX  ?= /usr/local
IMAGE   ?= perfgate

# One way of compiling for the binary, the tests and the nodes that tests start, so that nothing
# is compiled twice. The race detector needs cgo.
export CGO_ENABLED = 0

.PHONY: geoip help build install man run test lint e2e e2e-cluster e2e-image bench bench-large bench-cluster bench-hash bench-insight bench-limits bench-proxy bench-timing torture fuzz image clean

build: ## one static binary
	$(BUILD) -o perfgate .

install: ## copy ./perfgate to PREFIX/bin and its manual to PREFIX/share/man, which needs root for /usr/local
	@test -x perfgate || { echo 'there is no ./perfgate; run "make build" first' >&2; exit 1; }
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 perfgate "$(DESTDIR)$(PREFIX)/bin/perfgate"
	install -d "$(DESTDIR)$(PREFIX)/share/man/man1"
	./perfgate man "$(DESTDIR)$(PREFIX)/share/man/man1"

man: build ## the manual pages, into dist/man
	./perfgate man dist/man

help: ## every target with its description
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-15s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## one node with the built-in echo upstream
	./perfgate serve

# The packages whose code and tests start no goroutine: nothing in them can race, and the race
# detector would cost several times the processor. The root's tests read the files of the repository.
PLAIN = . ./httpapi/invisible ./httpapi/iprange ./httpapi/span ./limiter/roster ./node/config ./node/datadir ./store/backup ./store/chain ./store/chain/export ./store/insight ./store/pack ./store/seal

# The packages that run under the race detector: all others but those whose tests start
# processes or whole clusters, where it costs ten times the processor and nodes
# lose leadership for want of it. Of the clusters in one process (node/nodetest)
# the tests in RACES run under it as well; all of them do in "make torture".
RACED = $$($(GO) list ./... | grep -vE '/(e2e|nodetest)(/|$$)' | grep -vxF "$$($(GO) list $(PLAIN))")

# Campaigns of one goroutine, histories of one kill or power loss after the other, and megabytes
# that only pass through: the race detector costs minutes there and finds nothing that the other
# tests of their packages do not show it.
LONE  = ^Test(BatchesDoNotMatter|BeginningsNeverGiveMoreThanOneBucket|EveryFlippedBit|FairTablesGiveNothingAway|ManyKeysInOneMinute|PowerLoss|PowerLosses|QuotaMonthsOverKills|MinuteBound|RestoreCommandOfASealedFile|RestoreCommandRefuses|RestoreCommandKeepsData|ScheduledBackupsOfOthers|ConversionAndPowerLoss|RotateDataAndPowerLoss|Simulation|Usefulness|NeverMoreThanOneBucketLong|Kill9|TailIsBoundedInBytes)$$
LONES = ./limiter ./limiter/pool ./limiter/share ./node/custody ./node/lease ./node/recovery ./node/replica ./store ./store/encfs ./store/keyring ./store/local ./store/raftlog

RACES = ^Test(IsolatedNode|ReadsAreLinearizable|RemoveNode|SnapshotIsInstalled|TransferUnderWrites)$$

# vet is off here because "make lint" runs it; with each part, it would check every dependency again.
TEST = $(GO) test -vet=off -timeout 20m
# Only debuggers read DWARF: without it, the second compilation of everything costs a fifth less.
RACE = env CGO_ENABLED=1 $(TEST) -race -gcflags=all=-dwarf=false

test: ## every fast test; each part runs even if the one before it failed
	@status=0; \
	run() { echo "$$*"; "$$@" || status=1; }; \
	run $(TEST) ./e2e/... ./node/nodetest; \
	run $(TEST) $(PLAIN); \
	run $(TEST) -run '$(LONE)' $(LONES); \
	run $(RACE) -skip '$(LONE)' $(RACED); \
	run $(RACE) -run '$(RACES)' ./node/nodetest; \
	exit $$status

lint: ## gofmt, golangci-lint at the version in .ci/lint.mod, and a build for another system
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) tool -modfile=.ci/lint.mod golangci-lint run ./...
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null .

e2e: ## clients that others wrote; needs curl, jq, node with npm, python3-requests, h2load, slowhttptest, sslscan, nmap, chromium, rsyslog with rsyslog-gnutls
	e2e/clients/run.sh
	PERFGATE_E2E_HTTP2=1 $(GO) test -count 1 -timeout 5m -v -run '^Test(H2|GRPC)' ./e2e
	PERFGATE_E2E_TLS=1 $(GO) test -count 1 -timeout 5m -v -run '^TestTLSScanners$$' ./e2e
	PERFGATE_E2E_BROWSER=1 $(GO) test -count 1 -timeout 20m -v -run '^TestDashboard' ./e2e
	PERFGATE_E2E_SLOW=1 $(GO) test -count 1 -timeout 5m -v -run '^TestSlowClients$$' ./e2e
	PERFGATE_E2E_SYSLOG=1 $(GO) test -count 1 -timeout 5m -v -run '^TestSyslogSink$$' ./e2e

e2e-cluster: ## three processes, broken in many ways; needs root, iproute2, nftables, strace
	PERFGATE_E2E_CLUSTER=1 $(GO) test -count 1 -timeout 20m -v ./e2e/cluster

e2e-image: ## the image, built and used; needs podman and runc
	e2e/image.sh

GEOIP ?= country.mmdb
geoip: ## fetch a CC0 database of countries into GEOIP, for geoip.database; needs npm
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	(cd "$$dir" && npm pack --silent @ip-location-db/geo-whois-asn-country-mmdb >/dev/null && tar -xzf *.tgz) && \
	mv "$$dir/package/geo-whois-asn-country.mmdb" "$(GEOIP).new" && mv "$(GEOIP).new" "$(GEOIP)" && ls -l "$(GEOIP)"

fuzz: ## every fuzzer for FUZZTIME
	@git grep -o 'func Fuzz[A-Za-z0-9]*' -- '*_test.go' | while IFS=: read -r file fn; do \
		$(GO) test "./$$(dirname "$$file")" -run '^$$' -fuzz "^$${fn#func }$$" -fuzztime $(FUZZTIME) || exit 1; done

bench: ## every benchmark, small data
	KEYS=20000 WRITES=20000 EVENTS=50000 $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

bench-large: ## the figures of docs/benchmarks.md: 10M keys, 1M in use; half an hour, 10 GB in LARGE
	$(GO) test ./store -run '^$$' -bench 'Lookup' -benchmem -timeout 1h -store.keys 10000000 -store.dir $(LARGE)
	$(GO) test ./e2e -run '^$$' -bench 'Create' -benchtime 20000x
	$(GO) test ./e2e -run '^$$' -bench 'Start|Memory|AuditExport' -benchtime 1x -timeout 1h

bench-cluster: ## a table: three processes, real fsync, etcd beside them; half an hour
	PERFGATE_E2E_CLUSTER=bench $(GO) test -count 1 -run '^TestBench$$' -timeout 2h ./e2e/cluster -v

bench-hash: ## writes with the chained hash of what was applied to writes without it, in turn, and a control
	$(GO) test ./node/replica ./store -run '^$$' -bench '^BenchmarkShareOfFingerprint$$' -benchtime 100x -count 6 -timeout 1h

bench-insight: ## audit on and off, bytes of an event, first pages, export, 90 days of usage; EVENTS (500,000), KEYS (10,000)
	$(GO) test ./node -run '^$$' -bench '^BenchmarkProxied$$' -benchtime 3s -count $(COUNT)
	$(GO) test ./store/local ./node/observe -p 1 -run '^$$' -bench '^Benchmark(Scan|FirstPage|NinetyDays)$$' -timeout 2h
	$(GO) test ./e2e -run '^$$' -bench '^BenchmarkAuditExport$$' -benchtime 1x -timeout 2h

bench-limits: ## limits that nodes share: three processes, 3, 5 and 9 nodes in virtual time, and the cost of a decision
	PERFGATE_BENCH_LIMITS=1 $(GO) test ./e2e -count 1 -run '^TestBench(Limits|SharedProxying)$$' -v
	PERFGATE_BENCH_LIMITS=1 $(GO) test ./node/share ./limiter -count 1 -run '^(TestManyKeys|TestDecisionOfAMillion)$$' -v
	$(GO) test ./limiter/share -count 1 -run '^(TestUsefulness|TestBurstAtOneNode)$$' -v
	$(GO) test ./limiter ./limiter/share -run '^$$' -bench 'TakePooled|Decide' -benchmem

bench-proxy: ## a table: perfgate beside nginx and HAProxy; FIGURES, ROUNDS, SECONDS; needs nginx, haproxy, wrk, strace
	PERFGATE_E2E_PEERS=1 $(GO) test -count 1 -run '^TestBench$$' -timeout 2h ./e2e/peers -v

bench-timing: ## times of key checks, sign-ins and signatures that must not differ, by Welch's t; CALLS (200,000)
	CALLS=$${CALLS:-200000} $(GO) test ./httpapi/admit -run '^$$' -bench '^BenchmarkTiming$$' -benchtime 1x -timeout 2h

torture: ## long campaigns: kills, power losses, damaged files, random histories, races of whole clusters
	CGO_ENABLED=1 $(GO) test -race -count 1 -timeout 3h ./node/...
	PERFGATE_TORTURE=1 $(GO) test -count 1 -timeout 8h ./e2e ./node/... ./store/... ./limiter/...
	PERFGATE_TORTURE=1 PERFGATE_E2E_CLUSTER=full $(GO) test -count 1 -timeout 12h ./e2e/cluster

# The Dockerfile without its first stage, so that no base image is needed.
image: ## from scratch, not root, with podman
	mkdir -p dist/data && $(BUILD) -o dist/perfgate .
	sed '/^FROM golang/,/^$$/d; s|--from=source ||; s|/dist/|dist/|' Dockerfile | \
		podman build --format docker -t $(IMAGE):$(VERSION) -t $(IMAGE):latest -f - .

clean: ## remove the products of build and image
	rm -rf perfgate dist
