# make demo    build smelt and let the storyteller example tell a story
# make test    every check: format, vet, staticcheck, race detector, tests
# make quick   format, vet and the tests that find most faults a second (-short)
# make full    make test with every case, of which tests draw some in each run
# make proof   every checkpoint on every target: compiled, opened, run, verified; a table
# make soak    make test RUNS times beside a busy processor: scripts/soak
# make build   bin/smelt
# make fuzz    each fuzz target for FUZZTIME
# make sdks    the server with the Go libraries of OpenAI and Anthropic, a part of make test
# make bench   all benchmarks, or those matching BENCH
#
# Go is found, or installed where that is possible, by .ci/need.

FUZZTIME ?= 5m
BENCH ?= .
RUNS ?= 5

# An older Go fetches the version go.mod asks for, unless told to stay local.
export GOTOOLCHAIN := $(or $(filter-out local,$(GOTOOLCHAIN)),auto)
export FUZZTIME

.PHONY: demo test quick full proof soak build fuzz sdks bench

demo: build
	@.ci/need llvm || echo 'going on without the CPU device'
	@go=$$(.ci/need go) && CGO_ENABLED=0 "$$go" run ./examples/storyteller
	@echo; echo 'More: bin/smelt run examples/storyteller/checkpoint --prompt "The old woman" --echo'

# Where git refuses the folder (another owner's, as in many containers) Go would
# refuse to build; then the version goes without the commit.
build:
	@go=$$(.ci/need go) && echo "building bin/smelt" && \
	stamp=$$(git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false) && \
	CGO_ENABLED=0 "$$go" build $$stamp -o bin/smelt ./cmd/smelt

test:
	@.ci/test

quick:
	@.ci/test quick

full:
	@.ci/test full

proof:
	@scripts/proof

soak:
	@scripts/soak $(RUNS)

fuzz:
	@.ci/fuzz

sdks:
	@.ci/sdks

bench:
	@go=$$(.ci/need go) && CGO_ENABLED=0 "$$go" test -run '^$$' -bench '$(BENCH)' -benchmem ./...
