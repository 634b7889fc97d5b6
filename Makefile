# Commands of the project. Each sets up what it needs; a machine with Rust needs nothing else.
#
#   make run          build the gate and serve a demo: prints a credential, and the curl command that it allows
#   make test         run every test
#   make test-quick   run the tests that need no broker, proxy or browser
#   make lint         check formatting, and run clippy with warnings denied
#   make build        build the release program, target/release/mqtt-gate
#   make deb          build the Debian package, target/debian/*.deb; needs cargo-deb (cargo install cargo-deb --locked)
#   make bench        measure the release program beside the same checks in native code; writes docs/PERFORMANCE.md
#   make bench-check  run the shortest of these measurements, and fail if the gate has become slow
#   make bench-call   measure one call in process, with criterion
#   make policy DIR=policies/lockdown   build one policy, target/components/lockdown.wasm
#
# WASM_STD chooses where the WebAssembly standard library comes from: auto, rustup or debian (componentize/setup).

WASM_STD ?= auto
CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export WASM_STD CARGO_TARGET_DIR

# Every build of the dev profile names the whole workspace, so that all of them resolve the same features and share what
# was compiled once.
DEV_BUILD := cargo build --workspace

.PHONY: run test test-quick build deb deb-package bench bench-check bench-call bench-build lint policy components \
	componentize setup first-build-notice

run: first-build-notice components
	$(DEV_BUILD) --locked --bin mqtt-gate
	@mkdir -p $(CARGO_TARGET_DIR)/demo
	@cp $(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/demo/policy.wasm
	@printf '\nPolicies to copy over the policy of the demo:\n  %s\n  %s\n\n' \
		$(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/components/lockdown.wasm
	@$(CARGO_TARGET_DIR)/debug/mqtt-gate serve --demo --policy $(CARGO_TARGET_DIR)/demo/policy.wasm

first-build-notice:
	@[ -e $(CARGO_TARGET_DIR)/debug/mqtt-gate ] || printf '%s\n' \
		'First build: two policies, an Envoy filter, and the gate with its WebAssembly compiler.' \
		'This compiles about 300 crates once, which takes about ten minutes on two cores. Later builds take seconds.'

build: setup
	cargo build --locked --release --bin mqtt-gate

deb: build components deb-package

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
		--component $(CARGO_TARGET_DIR)/components/auth_core.wasm --write docs

bench-check: bench-build
	$(CARGO_TARGET_DIR)/release/bench check --gate $(CARGO_TARGET_DIR)/release/mqtt-gate

bench-call: setup
	cargo bench --locked --package bench --bench call

# Both at once, because they share their dependencies. The wasi:http host uses those that the tests built.
bench-build: setup
	cargo build --locked --release --package mqtt-gate --package bench
	$(DEV_BUILD) --locked --bin wasi-host

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The policies and the Envoy filter of this repository, as files for an operator: target/components/*.wasm
components: componentize
	$(CARGO_TARGET_DIR)/debug/componentize auth-core policies/lockdown --module proxies/envoy-filter

policy: componentize
	$(CARGO_TARGET_DIR)/debug/componentize $(DIR)

# Without --locked, so that a policy can be added.
componentize: setup
	$(DEV_BUILD) --bin componentize

setup:
	@componentize/setup $(WASM_STD) $(CARGO_TARGET_DIR)
