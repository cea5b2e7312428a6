# Two commands do everything: `make demo` plays the main job on a real control plane, `make test` runs every test.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PLANE := target/debug/plane
# How long `make fuzz` runs each target.
SECONDS_EACH ?= 60

# How long `make soak` goes on.
SOAK_SECONDS ?= 600
# What `make test-matrix` goes through: these minors of Kubernetes, or all where none is said; the end-to-end tests with this in their name, or all.
VERSIONS ?=
FILTER ?=

# What `make bench-scale` looks at, and after how many `make bench-leak` takes the memory.
ACTIVE ?= 1000,5000,10000,25000,50000
ENDED ?= 100000
CAME_AND_WENT ?= 10000,100000

.PHONY: help rust tools build release plane crds commands plugin refusal-pages refusals transcripts lint test test-faults test-matrix soak
.PHONY: bench bench-scale bench-leak bench-plot fuzz demo up down run

help: ## What there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# `cc` links what cargo builds, and compiles the C in some dependencies.
rust: NEEDS := $(CARGO):Rust "cc:a C compiler (gcc or clang)"
tools: NEEDS := $(CARGO):Rust "cc:a C compiler (gcc or clang)" go:Go git:git openssl:openssl
rust tools:
	@for tool in $(NEEDS); do \
	  command -v "$${tool%%:*}" >/dev/null || { echo "$${tool##*:} is missing: install it so that '$${tool%%:*}' is on the PATH" >&2; exit 1; }; \
	done

build: tools
	@$(CARGO) build --quiet --locked --workspace

# What the measurements run, each built for its package alone as it is released, but with names for a profiler.
release: tools
	@$(CARGO) build --quiet --locked --profile bench -p jit-rbac
	@$(CARGO) build --quiet --locked --profile bench -p kubectl-jit

plane: build
	@$(PLANE) build

crds: build ## Write crds/, the chart's copies and the schema of jit-access anew from the types
	@for directory in crds charts/jit-rbac/files/crds; do mkdir -p "$$directory"; target/debug/jit-rbac crds --directory "$$directory"; done
	@BLESS=1 $(CARGO) test --quiet --locked --test charts schema >/dev/null

commands: build ## Write docs/commands.md anew from the plugin
	@target/debug/kubectl-jit man --markdown >docs/commands.md

plugin: rust ## Install kubectl jit where cargo puts programs
	@$(CARGO) install --quiet --locked --path src/kubectl-jit

refusal-pages: tools ## Write the pages of docs/refusals and their index from src/api/reasons
	@BLESS=1 $(CARGO) test --quiet --locked --test docs the_pages_are_what_is_rendered >/dev/null

refusals: plane ## Write docs/refusals/as-printed.md from what the end-to-end tests get as answers
	@$(CARGO) test --quiet --locked --test e2e refused_ >/dev/null
	@sed -i '/^## /,$$d' docs/refusals/as-printed.md && cat target/tmp/refusals.md >>docs/refusals/as-printed.md

transcripts: plane ## Write into README and docs what the commands that they show print now
	@BLESS=1 $(CARGO) test --quiet --locked --test e2e documented_sessions >/dev/null

lint: tools ## Formatting and lints
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	@$(CARGO) clippy --quiet --locked --workspace --all-targets -- --deny warnings

# All suites run, also after one has failed. The last lines say what was run and what failed.
test: lint plane ## Everything: lints, rules, charts, end-to-end tests on a real API server; prints a summary at its end
	@mkdir -p target; status=0; CARGO_TERM_COLOR=never $(CARGO) test --locked --workspace --no-fail-fast 2>&1 | tee target/test.log || status=$$?; \
	awk -f testing/summary.awk target/test.log; \
	[ "$$status" = 0 ] || { echo "failed: the whole output is in target/test.log" >&2; exit "$$status"; }

test-faults: plane ## The end-to-end tests that kill, hang and disturb at every call of a grant's life, in about six minutes
	@$(CARGO) test --locked --test e2e -- --ignored

test-matrix: build ## The end-to-end tests on every minor of Kubernetes in turn; VERSIONS="1.34 1.37" and FILTER=t33 limit them
	@versions="$(VERSIONS)"; [ -n "$$versions" ] || versions=$$($(PLANE) versions); failed=; \
	for version in $$versions; do \
	  echo "== Kubernetes $$version"; export KUBERNETES_VERSION="$$version"; \
	  { $(PLANE) build && $(CARGO) test --locked --test e2e -- $(FILTER); } || failed+=" $$version"; \
	done; \
	[ -z "$$failed" ] || { echo "failed on Kubernetes$$failed" >&2; exit 1; }

soak: plane ## A random mixed load with random faults for SOAK_SECONDS (600); SOAK_SEED plays one again
	@SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test e2e under_a_mixed_load_with_faults

# What libFuzzer finds on its way goes to fuzz/found; fuzz/corpus is what people put there. Without a sanitizer: no code here is unsafe.
fuzz: tools ## Every fuzz target for SECONDS_EACH seconds (60): needs cargo-fuzz, a nightly toolchain and a C++ compiler
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: install it with 'cargo install --locked cargo-fuzz'" >&2; exit 1; }
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { echo "a nightly toolchain is missing: install it with 'rustup toolchain install nightly --profile minimal'" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "C++ is missing, of which libFuzzer is made: install it so that 'c++' is on the PATH" >&2; exit 1; }
	@for target in $(notdir $(wildcard fuzz/corpus/*)); do \
	  echo "== $$target"; mkdir -p "fuzz/found/$$target"; \
	  $(CARGO) +nightly fuzz run --sanitizer none "$$target" "fuzz/found/$$target" "fuzz/corpus/$$target" -- \
	    -max_total_time=$(SECONDS_EACH) -timeout=60 -max_len=8192 -print_final_stats=1; \
	done

demo: plane ## The main job, start to end, in about a minute after the builds
	@$(PLANE) demo

up: plane ## A control plane with the operator, left running; prints one export line
	@$(PLANE) up

down: ## End what `make up` started
	@$(PLANE) down

run: build ## Rebuild, and restart the operator on what `make up` started
	@$(PLANE) run

bench: plane release ## How fast it is, beside the floor of a plain client on the same API server; in about half an hour after the builds
	@$(CARGO) bench --quiet --locked --bench bench

# Its plane and figures stay in target/bench/scale: called again, it goes on where it was interrupted.
bench-scale: plane release ## Figures beside ACTIVE grants and ENDED requests, for hours; interrupted, it goes on when called again
	@$(CARGO) bench --quiet --locked --bench bench -- scale --active $(ACTIVE) --ended $(ENDED)

bench-leak: plane release ## The leader's memory after CAME_AND_WENT grants, in one run of an hour and more
	@$(CARGO) bench --quiet --locked --bench bench -- leak --came-and-went $(CAME_AND_WENT)

bench-plot: tools ## Draw docs/performance.svg from what `make bench-scale` has measured
	@$(CARGO) bench --quiet --locked --bench bench -- plot docs/performance.svg
