# `make` runs what CI runs. All of it needs Go, git and bash; the module cache
# fills itself.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

GO          ?= go
FUZZTIME    ?= 20s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# What bcrypt does is one goroutine's own, and takes ten times as long under the
# race detector: seconds for each password.
RACE        := -race -gcflags=golang.org/x/crypto/blowfish=-race=false

.PHONY: ci build run test race lint fuzz bench e2e mutants

ci:
	.ci/run

build:
	$(GO) build -o bin/ ./cmd/...

run: build
	bin/registry-node serve --init --data ./data

test:
	$(GO) test ./...

race:
	$(GO) test $(RACE) $(RACEFLAGS) ./...

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt changes: $$unformatted"; exit 1; }
	$(GO) vet ./... && $(GO) run $(STATICCHECK) ./... && $(GO) mod tidy -diff

fuzz:
	@$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ {name[++n] = $$1} /^ok/ {for (i = 1; i <= n; i++) print $$2, name[i]; n = 0}' | \
	while read -r pkg name; do $(GO) test "$$pkg" -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) </dev/null || exit 1; done

bench:
	$(GO) run ./e2e/bench

e2e:
	E2E_CYCLES=50 $(GO) test ./e2e -count 1 -v -timeout 20m

mutants:
	e2e/mutants/run $(MUTANTS)
