# perfgate: everything a person or CI does, in one place.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
BENCH   ?= .
COUNT   ?= 1

.PHONY: build run test lint e2e bench bench-large torture fuzz image clean

build: ## one static binary
	$(BUILD) -o perfgate .

run: build ## one node with the built-in echo upstream
	./perfgate serve

test: ## every fast test; the packages where goroutines meet run under the race detector
	$(GO) test ./e2e ./node/... .
	$(GO) test -race ./limiter/... ./store/... ./httpapi/...

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

e2e: ## clients that others wrote; needs curl, jq, node with npm, python3-requests
	e2e/clients/run.sh

bench: ## every benchmark, small data
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

torture: ## long campaigns: kills, power losses, random histories
	PERFGATE_TORTURE=1 $(GO) test -count 1 -timeout 3h ./e2e ./node/... ./store/... ./limiter/...

image: ## from scratch, non-root
	mkdir -p dist/data && $(BUILD) -o dist/perfgate . && podman build --format docker -t perfgate:$(VERSION) .

clean:
	rm -rf perfgate dist
