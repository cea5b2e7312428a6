# The two main commands: `make demo` executes the main workflow on a real control plane, `make test` executes every test.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PLANE := target/debug/plane
# Duration of each target of `make fuzz`, in seconds.
SECONDS_EACH ?= 60

# Duration of `make soak`, in seconds.
SOAK_SECONDS ?= 600
# Scope of `make test-matrix`: minor versions of Kubernetes, by default all; part of the names of the end-to-end tests, by default all.
VERSIONS ?=
FILTER ?=

# The commit from which `make test-upgrade` upgrades; its program and chart stay in the cache, by commit.
UPGRADE_FROM ?= d868380

# Numbers of active grants and completed requests for `make bench-scale`; numbers of grants after which `make bench-leak` measures the memory.
ACTIVE ?= 1000,5000,10000,25000,50000
ENDED ?= 100000
CAME_AND_WENT ?= 10000,100000

# The versions of the programs that `make lint-charts` builds into the cache.
KUBECONFORM_VERSION := v0.8.0
KUBE_SCORE_VERSION := v1.20.0

# The oldest accepted version of cargo-deny, and the cache for it: that of testing/control-plane, outside of the checkout.
DENY_VERSION := 0.20.2
# The versions of the tools of releases, which are built into the same cache.
AUDITABLE_VERSION := 0.7.7
SYFT := github.com/anchore/syft/cmd/syft@v1.57.1
COSIGN := github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
KREW := sigs.k8s.io/krew/cmd/krew@v0.4.3
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
CACHE := $(if $(filter /%,$(XDG_CACHE_HOME)),$(XDG_CACHE_HOME),$(HOME)/.cache)/jit-rbac
TOOLS := $(CACHE)/tools

# The platforms of `make image` and `make binaries`, with commas between them.
PLATFORMS ?= linux/amd64,linux/arm64
# The platforms of `make archives`. For darwin/amd64 and darwin/arm64, SDKROOT must be the SDK of macOS.
PLUGIN_PLATFORMS ?= linux/amd64,linux/arm64,windows/amd64,windows/arm64
# The program and the image of `make charts`.
HELM ?= helm
CHART_IMAGE ?=
# The repository of the releases on GitHub, in the manifest for krew.
REPOSITORY ?= OWNER/NAME
comma := ,

.PHONY: help rust tools cargo-deny zigbuild buildah qemu-aarch64-static prometheus chromium build release plane crds chart-readmes commands plugin refusal-pages refusals transcripts
.PHONY: lint lint-charts dependencies advisories test test-faults test-alerts screenshots test-matrix soak
.PHONY: bench bench-scale bench-leak bench-plot fuzz demo up down run
.PHONY: binaries image test-image plugin-binaries archives charts sbom krew checksums syft cosign krew-tool actionlint tools-path lint-release
.PHONY: node cluster test-node
.PHONY: notify-tools notification-images record-tools test-record
.PHONY: earlier test-upgrade

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# `cc` is the linker of cargo, and compiles the C code in some dependencies.
rust: NEEDS := $(CARGO):Rust "cc:a C compiler (gcc or clang)"
tools: NEEDS := $(CARGO):Rust "cc:a C compiler (gcc or clang)" go:Go git:git openssl:openssl
rust tools:
	@for tool in $(NEEDS); do \
	  command -v "$${tool%%:*}" >/dev/null || { echo "$${tool##*:} is missing: install it so that '$${tool%%:*}' is on the PATH" >&2; exit 1; }; \
	done

cargo-deny dependencies advisories: export PATH := $(TOOLS)/bin:$(PATH)
cargo-deny: rust
	@printf '%s\n' "cargo-deny $(DENY_VERSION)" "$$(cargo-deny --version 2>/dev/null)" | sort -VC || { \
	  echo "Building cargo-deny $(DENY_VERSION): about 3 minutes on 2 cores, once per machine." >&2; \
	  $(CARGO) install --quiet --locked --root "$(TOOLS)" --version $(DENY_VERSION) cargo-deny || \
	    { echo "cargo-deny $(DENY_VERSION) cannot be built: install this or a later version so that 'cargo-deny' is on the PATH" >&2; exit 1; }; \
	}

# Exactly these versions: the bytes of a binary depend on them.
zigbuild: rust
	@[ "$$("$(TOOLS)/bin/cargo-auditable" --version 2>/dev/null)" = "cargo-auditable $(AUDITABLE_VERSION)" ] || { \
	  $(CARGO) install --quiet --locked --root "$(TOOLS)" --version $(AUDITABLE_VERSION) cargo-auditable || \
	    { echo "cargo-auditable $(AUDITABLE_VERSION) cannot be built: it needs access to crates.io" >&2; exit 1; }; \
	}
	@cmp --silent release/requirements.txt "$(TOOLS)/zigbuild/requirements.txt" || { \
	  echo "Installing cargo-zigbuild and zig: 400 MB, once per machine." >&2; \
	  python3 -m venv --clear "$(TOOLS)/zigbuild" && \
	  "$(TOOLS)/zigbuild/bin/python3" -m pip install --quiet --require-hashes --only-binary :all: --requirement release/requirements.txt && \
	  cp release/requirements.txt "$(TOOLS)/zigbuild" || \
	    { echo "cargo-zigbuild and zig cannot be installed: they need Python 3 with venv and pip, and access to PyPI" >&2; exit 1; }; \
	}

# Packages of Debian and its derivatives: root gets them installed.
buildah: PACKAGE := buildah
qemu-aarch64-static: PACKAGE := qemu-user-static
# With promtool. Where systemd runs, the package starts a service that the tests do not use.
prometheus: PACKAGE := prometheus
chromium: PACKAGE := chromium
buildah qemu-aarch64-static prometheus chromium:
	@command -v $@ >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq --no-install-recommends $(PACKAGE); } >/dev/null 2>&1 || \
	  { echo "$@ is missing: install it so that '$@' is on the PATH" >&2; exit 1; }

build: tools
	@$(CARGO) build --quiet --locked --workspace

# The programs for measurements: each is built for its package alone, as for a release, but with symbols for a profiler.
release: tools
	@$(CARGO) build --quiet --locked --profile bench -p jit-rbac
	@$(CARGO) build --quiet --locked --profile bench -p kubectl-jit

plane: build
	@$(PLANE) build

crds: build ## Generate crds/, the chart's copies and the schema of jit-access from the types
	@for directory in crds charts/jit-rbac/files/crds; do mkdir -p "$$directory"; target/debug/jit-rbac crds --directory "$$directory"; done
	@BLESS=1 $(CARGO) test --quiet --locked --test charts schema >/dev/null

chart-readmes: tools ## Generate the lists of values in the READMEs of the charts from their values.yaml
	@BLESS=1 $(CARGO) test --quiet --locked --test charts readmes_list_every_value >/dev/null

commands: build ## Generate docs/commands.md from the plugin
	@target/debug/kubectl-jit man --markdown >docs/commands.md

plugin: rust ## Install kubectl jit with cargo install
	@$(CARGO) install --quiet --locked --path src/kubectl-jit

# The first build for a platform also compiles zig's libc.
binaries plugin-binaries: export PATH := $(TOOLS)/zigbuild/bin:$(TOOLS)/bin:$(PATH)
binaries: zigbuild ## Build the static, reproducible binaries of the operator into target/binaries
	@for platform in $(subst $(comma), ,$(PLATFORMS)); do release/binary.sh jit-rbac "$$platform"; release/binary.sh jit-rbac-services "$$platform"; done

image: binaries buildah ## Build the image of the operator into target/image/jit-rbac.oci.tar; PLATFORMS=linux/amd64 limits it
	@release/image.sh "$(PLATFORMS)"

plugin-binaries: zigbuild ## Build reproducible binaries of the plugin for PLUGIN_PLATFORMS into target/binaries
	@for platform in $(subst $(comma), ,$(PLUGIN_PLATFORMS)); do release/binary.sh kubectl-jit "$$platform"; done

archives: plugin-binaries ## Pack the plugin for PLUGIN_PLATFORMS into target/release-files
	@for platform in $(subst $(comma), ,$(PLUGIN_PLATFORMS)); do release/archive.sh "$$platform"; done

# With CHART_IMAGE, such as ghcr.io/example/jit-rbac, the packed chart installs the image of `make image` by its digest.
charts: ## Pack the charts into target/release-files; needs Helm
	@command -v "$(HELM)" >/dev/null || { echo "Helm is missing: install it so that 'helm' is on the PATH, or set HELM to its path" >&2; exit 1; }
	@release/charts.sh "$(HELM)" "$(CHART_IMAGE)"

sbom: syft ## Write the SBOMs of the image and the plugin that were built into target/release-files
	@PATH="$(TOOLS)/bin:$$PATH" release/sbom.sh

krew: ## Write the manifest for krew, of the archives in target/release-files
	@release/krew.sh "$(REPOSITORY)" >target/release-files/jit.yaml

checksums: ## Write SHA256SUMS of all files in target/release-files
	@cd target/release-files && rm -f SHA256SUMS* && sha256sum -- * >SHA256SUMS

syft: GO_TOOL := $(SYFT)
cosign: GO_TOOL := $(COSIGN)
krew-tool: GO_TOOL := $(KREW)
actionlint: GO_TOOL := $(ACTIONLINT)
# A Go program of exactly this version. The file with the suffix .version says which one was built.
syft cosign krew-tool actionlint:
	@command -v go >/dev/null || { echo "Go is missing: install it so that 'go' is on the PATH" >&2; exit 1; }
	@name=$$(basename "$(firstword $(subst @, ,$(GO_TOOL)))"); [ "$$(cat "$(TOOLS)/bin/$$name.version" 2>/dev/null)" = "$(GO_TOOL)" ] || { \
	  echo "Building $$name: once per machine." >&2; \
	  GOBIN="$(TOOLS)/bin" CGO_ENABLED=0 GOWORK=off go install -trimpath -ldflags "-s -w" "$(GO_TOOL)" && echo "$(GO_TOOL)" >"$(TOOLS)/bin/$$name.version"; \
	}

tools-path:
	@echo "$(TOOLS)/bin"

lint-release: actionlint krew-tool ## Check the workflows, and install the plugin's archive with krew as its users do
	@"$(TOOLS)/bin/actionlint"
	@release/try-krew.sh "$(TOOLS)/bin/krew"

refusal-pages: tools ## Generate the pages of docs/refusals and their index from src/api/reasons
	@BLESS=1 $(CARGO) test --quiet --locked --test docs the_pages_are_what_is_rendered >/dev/null

refusals: plane ## Generate docs/refusals/as-printed.md from the refusals that the end-to-end tests receive
	@$(CARGO) test --quiet --locked --test e2e refused_ >/dev/null
	@sed -i '/^## /,$$d' docs/refusals/as-printed.md && cat target/tmp/refusals.md >>docs/refusals/as-printed.md

transcripts: plane ## Update the sessions in README.md and docs with the current output of their commands
	@BLESS=1 $(CARGO) test --quiet --locked --test e2e documented_sessions >/dev/null

lint: tools dependencies ## Check formatting, lints and dependencies
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	@$(CARGO) clippy --quiet --locked --workspace --all-targets -- --deny warnings

# cargo-deny reads the manifests of all crates, also of those for other platforms. Cargo downloads the missing ones; afterwards the check needs
# no network. The fuzz targets do not use everything that deny.toml allows.
dependencies: cargo-deny ## Check the versions, licenses and sources of the dependencies against deny.toml; part of lint
	@for manifest in Cargo.toml fuzz/Cargo.toml; do \
	  unused=; [ "$$manifest" = Cargo.toml ] || unused="--allow unmatched-skip --allow unnecessary-skip --allow license-not-encountered"; \
	  $(CARGO) fetch --quiet --locked --manifest-path "$$manifest"; \
	  cargo-deny --frozen --workspace --manifest-path "$$manifest" --config deny.toml check --deny warnings $$unused bans licenses sources >/dev/null; \
	done

# The schemas come from the OpenAPI document in the module of Kubernetes, which the control plane is built from. The names of the files have the
# versions, so that another version is built.
lint-charts: tools plane ## Check what the charts render with kubeconform and kube-score, for every file in charts/*/ci; part of test
	@for tool in github.com/yannh/kubeconform/cmd/kubeconform@$(KUBECONFORM_VERSION) github.com/zegl/kube-score/cmd/kube-score@$(KUBE_SCORE_VERSION); do \
	  name=$${tool##*/}; directory="$(TOOLS)/bin/$$name"; \
	  [ -x "$$directory/$${name%@*}" ] || CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN="$$directory" go install "$$tool"; \
	done
	@cd testing/control-plane && go mod download k8s.io/kubernetes
	@PATH="$(TOOLS)/bin/kubeconform@$(KUBECONFORM_VERSION):$(TOOLS)/bin/kube-score@$(KUBE_SCORE_VERSION):$$PATH" \
	  $(CARGO) test --quiet --locked --test charts lint_with -- --ignored

notify-tools: ## Build mailpit and Alertmanager for the tests of notifications; two minutes, once per machine
	@command -v go >/dev/null || { echo "Go is missing: install it so that 'go' is on the PATH" >&2; exit 1; }
	@testing/notify-tools/build.sh "$(TOOLS)/bin"

notification-images: notify-tools chromium ## Write the picture of a notification in mailpit's page for docs/notifications.md; needs npm
	@SCREENSHOTS="$(CURDIR)/docs/images" $(CARGO) test --quiet --locked -p jit-rbac-services --test sinks screenshot -- --ignored

advisories: tools cargo-deny ## Check the dependencies against the security advisories of RustSec; needs access to GitHub
	@cargo-deny --locked check advisories
	@cargo-deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check advisories

# All suites run, also after one has failed. The last lines say what was run and what failed.
test: lint plane lint-charts notify-tools record-tools ## Run all lints and tests, including end-to-end tests on a real API server; prints a summary at the end
	@mkdir -p target; status=0; CARGO_TERM_COLOR=never $(CARGO) test --locked --workspace --no-fail-fast 2>&1 | tee target/test.log || status=$$?; \
	awk -f testing/summary.awk target/test.log; \
	[ "$$status" = 0 ] || { echo "failed: the whole output is in target/test.log" >&2; exit "$$status"; }

# Programs of others that verify, store and cosign the audit log in tests: fsck of Tessera, versitygw, litewitness.
record-tools: ## Build the programs that test the audit log into the cache; part of test
	@command -v go >/dev/null || { echo "Go is missing: install it so that 'go' is on the PATH" >&2; exit 1; }
	@cmp --silent testing/record-tools/go.mod "$(TOOLS)/record/go.mod" || { \
	  echo "Building fsck, versitygw and litewitness: about two minutes, once per machine." >&2; \
	  cd testing/record-tools && CGO_ENABLED=0 GOWORK=off GOBIN="$(TOOLS)/record" go install -trimpath -ldflags "-s -w" tool && cp go.mod "$(TOOLS)/record"; \
	}

test-record: record-tools ## Write and verify an audit log of 800,000 entries, and print memory and times; about one minute
	@$(CARGO) test --locked -p jit-rbac-record --test log eight_hundred_thousand -- --ignored --nocapture

test-faults: plane ## Run the end-to-end tests with faults at every call of a grant's lifecycle; about six minutes
	@$(CARGO) test --locked --test e2e -- --ignored --skip alerts_

test-alerts: plane prometheus ## Let every alert fire on a real Prometheus by its fault, and clear; about four minutes
	@$(CARGO) test --locked --test e2e alerts_ -- --ignored

screenshots: plane prometheus chromium ## Run test-alerts, and write its pictures for docs/metrics.md
	@SCREENSHOTS="$(CURDIR)/docs/images" $(CARGO) test --locked --test e2e alerts_ -- --ignored

test-matrix: build ## Run the end-to-end tests on every minor version of Kubernetes; VERSIONS="1.34 1.37" and FILTER=t33 limit them
	@versions="$(VERSIONS)"; [ -n "$$versions" ] || versions=$$($(PLANE) versions); failed=; \
	for version in $$versions; do \
	  echo "== Kubernetes $$version"; export KUBERNETES_VERSION="$$version"; \
	  { $(PLANE) build && $(CARGO) test --locked --test e2e -- $(FILTER); } || failed+=" $$version"; \
	done; \
	[ -z "$$failed" ] || { echo "failed on Kubernetes$$failed" >&2; exit 1; }

test-image: image qemu-aarch64-static ## Build the image a second time elsewhere, compare the digests, and check the content
	@PLATFORMS=$(PLATFORMS) $(CARGO) test --locked --test image

# The build has a target directory of its own: in that of the checkout, cargo would take this checkout's crates for the earlier ones.
earlier: tools
	@commit=$$(git rev-parse --quiet --verify "$(UPGRADE_FROM)^{commit}") || { \
	  echo "the commit $(UPGRADE_FROM) is not in this clone: fetch the whole history with 'git fetch --unshallow', or set UPGRADE_FROM to another commit" >&2; exit 1; }; \
	directory="$(CACHE)/earlier/$$commit"; [ ! -x "$$directory/jit-rbac" ] || exit 0; \
	echo "Building jit-rbac of $(UPGRADE_FROM): some minutes, once per machine and commit." >&2; \
	rm -rf "$$directory"; mkdir -p "$$directory/source"; git archive "$$commit" | tar -x -C "$$directory/source"; \
	$(CARGO) build --quiet --locked --manifest-path "$$directory/source/Cargo.toml" --target-dir "$$directory/target" -p jit-rbac; \
	mkdir "$$directory/charts"; mv "$$directory/source/charts/jit-rbac" "$$directory/charts"; \
	mv "$$directory/target/debug/jit-rbac" "$$directory/jit-rbac"; rm -rf "$$directory/source" "$$directory/target"

test-upgrade: earlier ## Upgrade from UPGRADE_FROM and roll back while 200 grants run; five minutes after the builds
	@$(MAKE) --no-print-directory plane
	@UPGRADE_FROM="$(CACHE)/earlier/$$(git rev-parse "$(UPGRADE_FROM)^{commit}")" $(CARGO) test --locked --test e2e upgrade_and_rollback

soak: plane ## Run a random mixed load with random faults for SOAK_SECONDS (600); SOAK_SEED repeats an earlier one
	@SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test e2e under_a_mixed_load_with_faults

# libFuzzer writes new inputs to fuzz/found; fuzz/corpus is maintained by hand. Without a sanitizer: no code here is unsafe.
fuzz: tools ## Run every fuzz target for SECONDS_EACH seconds (60); needs cargo-fuzz, a nightly toolchain and a C++ compiler
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: install it with 'cargo install --locked cargo-fuzz'" >&2; exit 1; }
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { echo "a nightly toolchain is missing: install it with 'rustup toolchain install nightly --profile minimal'" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "a C++ compiler is missing, which libFuzzer needs: install it so that 'c++' is on the PATH" >&2; exit 1; }
	@for target in $(notdir $(wildcard fuzz/corpus/*)); do \
	  echo "== $$target"; mkdir -p "fuzz/found/$$target"; \
	  $(CARGO) +nightly fuzz run --sanitizer none "$$target" "fuzz/found/$$target" "fuzz/corpus/$$target" -- \
	    -max_total_time=$(SECONDS_EACH) -timeout=60 -max_len=8192 -print_final_stats=1; \
	done

# The image for this machine alone is built for its own node.
cluster test-node: PLATFORMS := linux/$(subst aarch64,arm64,$(subst x86_64,amd64,$(shell uname -m)))
# What Debian and its derivatives have in packages: root gets it installed. `cluster check` prints what is missing after that.
NODE_PACKAGES := containernetworking-plugins iproute2 nftables runc
node: plane
	@target/debug/cluster check 2>/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update --quiet=2 && \
	  apt-get install --yes --quiet=2 --no-install-recommends $(NODE_PACKAGES); } >/dev/null 2>&1 || true
	@target/debug/cluster check && target/debug/cluster build

test-node: node image ## Run the tests of the image and the chart in pods on a real node; needs root
	@$(CARGO) test --locked --workspace --test cleanup --test node -- --include-ignored

# Only the last line is for the shell.
cluster: node ## Start a cluster of one node with the product in pods, and leave it running; prints one export line; needs root
	@$(MAKE) --no-print-directory image PLATFORMS=$(PLATFORMS) >&2
	@target/debug/cluster up

demo: plane notify-tools ## Execute the main workflow from start to end; half a minute after the builds
	@$(PLANE) demo

up: plane notify-tools ## Start a control plane with the operator, and leave it running; prints one export line
	@$(PLANE) up

down: ## Stop what `make up` and `make cluster` started
	@$(PLANE) down
	@[ ! -x target/debug/cluster ] || target/debug/cluster down

run: build ## Rebuild, and restart the operator on the control plane of `make up`
	@$(PLANE) run

bench: plane release ## Measure the speed, and that of a plain client on the same API server; half an hour after the builds
	@$(CARGO) bench --quiet --locked --bench bench

# Its control plane and results stay in target/bench/scale: after an interruption it continues there.
bench-scale: plane release ## Measure with ACTIVE active grants and ENDED completed requests; takes hours, and continues after an interruption
	@$(CARGO) bench --quiet --locked --bench bench -- scale --active $(ACTIVE) --ended $(ENDED)

bench-leak: plane release ## Measure the leader's memory after CAME_AND_WENT grants; takes more than an hour
	@$(CARGO) bench --quiet --locked --bench bench -- leak --came-and-went $(CAME_AND_WENT)

bench-plot: tools ## Draw docs/performance.svg from the results of `make bench-scale`
	@$(CARGO) bench --quiet --locked --bench bench -- plot docs/performance.svg
