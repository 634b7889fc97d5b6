# Commands of the project. Each sets up what it needs; a machine with Rust needs nothing else.
#
#   make run          build the gate and serve a demo: prints a credential, and the curl command that it allows
#   make test         run every test
#   make test-quick   run the tests that need no broker, proxy or browser
#   make lint         check formatting, and run clippy with warnings denied
#   make build        build the release program, target/release/mqtt-gate
#   make audit        check licences, sources and versions of dependencies; needs cargo-deny
#   make fuzz         run each fuzz target for FUZZ_SECONDS (60); needs cargo-fuzz and a C++ compiler
#   make soak         run a gate through swaps, faults and restarts for SOAK_MINUTES (30), and judge every answer
#   make sbom         write the list of what the program contains; needs cargo-cyclonedx
#   make deb          build the Debian package, target/debian/*.deb; needs cargo-deb and cargo-cyclonedx
#   make bench        measure the release program beside the same checks in native code; writes docs/PERFORMANCE.md
#   make bench ONLY=chains   measure one section, and replace it in docs/PERFORMANCE.md
#   make bench-check  run the shortest of these measurements, and fail if the gate has become slow
#   make bench-call   measure one call in process, with criterion
#   make policy DIR=policies/lockdown   build one policy, target/components/lockdown.wasm
#
# WASM_STD chooses where the WebAssembly standard library comes from: auto, rustup or debian (componentize/setup).

WASM_STD ?= auto
CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export WASM_STD CARGO_TARGET_DIR

SOAK_MINUTES ?= 30
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= auth_core component connection dialects http1_patch mqtt_connect

# Every build of the dev profile names the whole workspace, so that all of them resolve the same features and share what
# was compiled once.
DEV_BUILD := cargo build --workspace

.PHONY: run test test-quick build deb deb-package bench bench-check bench-call bench-build soak fuzz audit sbom lint \
	policy components componentize setup first-build-notice

run: first-build-notice components
	$(DEV_BUILD) --locked --bin mqtt-gate
	@mkdir -p $(CARGO_TARGET_DIR)/demo
	@cp $(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/demo/policy.wasm
	@printf '\nPolicies to copy over the policy of the demo:\n  %s\n  %s\n\n' \
		$(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/components/lockdown.wasm
	@$(CARGO_TARGET_DIR)/debug/mqtt-gate serve --demo --policy $(CARGO_TARGET_DIR)/demo/policy.wasm

first-build-notice:
	@[ -e $(CARGO_TARGET_DIR)/debug/mqtt-gate ] || printf '%s\n' \
		'First build: four policies, an Envoy filter, and the gate with its WebAssembly compiler.' \
		'This compiles about 300 crates once, which takes about ten minutes on two cores. Later builds take seconds.'

build: setup
	cargo build --locked --release --bin mqtt-gate

deb: build components sbom deb-package

# Packages what was built before.
deb-package:
	@command -v cargo-deb >/dev/null || { echo 'cargo-deb is missing: cargo install cargo-deb --locked' >&2; exit 1; }
	@mkdir -p $(CARGO_TARGET_DIR)/release/deb
	cp $(CARGO_TARGET_DIR)/components/*.wasm $(CARGO_TARGET_DIR)/release/deb/
	for shell in bash fish zsh; do $(CARGO_TARGET_DIR)/release/mqtt-gate completions $$shell \
		>$(CARGO_TARGET_DIR)/release/deb/mqtt-gate.$$shell || exit 1; done
	cargo deb --no-build --strip --locked --package mqtt-gate

test: setup
	@tests/setup $(CARGO_TARGET_DIR)
	cargo test --workspace --locked

# The names of tests that need programs of tests/setup contain `external`.
test-quick: setup
	cargo test --workspace --locked -- --skip ::external::

bench: bench-build
	$(CARGO_TARGET_DIR)/release/bench run --gate $(CARGO_TARGET_DIR)/release/mqtt-gate \
		--component $(CARGO_TARGET_DIR)/components/auth_core.wasm --write docs $(if $(ONLY),--only $(ONLY))

bench-check: bench-build
	$(CARGO_TARGET_DIR)/release/bench check --gate $(CARGO_TARGET_DIR)/release/mqtt-gate

bench-call: setup
	cargo bench --locked --package bench --bench call

# Both at once, because they share their dependencies. The wasi:http host uses those that the tests built.
bench-build: setup
	cargo build --locked --release --package mqtt-gate --package bench
	$(DEV_BUILD) --locked --bin wasi-host

soak: bench-build components
	$(CARGO_TARGET_DIR)/release/bench soak --minutes $(SOAK_MINUTES) --gate $(CARGO_TARGET_DIR)/release/mqtt-gate \
		--components $(CARGO_TARGET_DIR)/components

# Stable Rust has the flags that the fuzzer needs, behind this variable. Inputs that are found stay in the target
# directory; those of the repository are only the first ones.
fuzz: setup components
	@cargo fuzz --version >/dev/null 2>&1 || { echo 'cargo-fuzz is missing: cargo install cargo-fuzz --locked' >&2; exit 1; }
	$(DEV_BUILD) --locked --bin mqtt-gate
	@mkdir -p $(CARGO_TARGET_DIR)/fuzz/corpus/component
	@cp $(CARGO_TARGET_DIR)/components/lockdown.wasm $(CARGO_TARGET_DIR)/fuzz/corpus/component/
	for target in $(FUZZ_TARGETS); do \
		mkdir -p $(CARGO_TARGET_DIR)/fuzz/corpus/$$target && \
		MQTT_GATE=$(CARGO_TARGET_DIR)/debug/mqtt-gate CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz RUSTC_BOOTSTRAP=1 \
		cargo fuzz run --sanitizer none $$target $(CARGO_TARGET_DIR)/fuzz/corpus/$$target fuzz/corpus/$$target \
		-- -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=30 -print_final_stats=1 || exit 1; \
	done

audit:
	@cargo deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing: cargo install cargo-deny --locked' >&2; exit 1; }
	cargo deny --locked check bans licenses sources

# CycloneDX: every crate in the program, with its version and licence.
sbom:
	@cargo cyclonedx --version >/dev/null 2>&1 || \
		{ echo 'cargo-cyclonedx is missing: cargo install cargo-cyclonedx --locked' >&2; exit 1; }
	@mkdir -p $(CARGO_TARGET_DIR)/release/deb
	cargo cyclonedx --manifest-path host/Cargo.toml --format json --override-filename mqtt-gate.cdx
	@# Without the directory that it was built in.
	@sed 's|$(CURDIR)|/mqtt-gate|g' host/mqtt-gate.cdx.json >$(CARGO_TARGET_DIR)/release/deb/mqtt-gate.cdx.json
	@# It writes one for each crate of the workspace.
	@rm -f mqtt-gate.cdx.json */mqtt-gate.cdx.json */*/mqtt-gate.cdx.json

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The policies and the Envoy filter of this repository, as files for an operator: target/components/*.wasm
components: componentize
	$(CARGO_TARGET_DIR)/debug/componentize auth-core policies/jwt policies/lockdown policies/revoked --module proxies/envoy-filter

policy: componentize
	$(if $(DIR),,$(error name the directory of the policy, such as make policy DIR=policies/lockdown))
	$(CARGO_TARGET_DIR)/debug/componentize $(DIR)

# Without --locked, so that a policy can be added.
componentize: setup
	$(DEV_BUILD) --bin componentize

setup:
	@componentize/setup $(WASM_STD) $(CARGO_TARGET_DIR)
