# The commands of the project. Each sets up what it needs; on a machine with Rust nothing has to be done first.
#
#   make run     build the gate and serve a demonstration: prints a credential and the curl line that is let in
#   make test    every test
#   make build   the program for use, target/release/mqtt-gate: slower to build, faster to run
#   make deb     the Debian package, target/debian/*.deb; needs cargo-deb (cargo install cargo-deb --locked)
#   make bench   how fast the program for use answers, beside the same checks compiled in; writes docs/PERFORMANCE.md
#   make bench-check   the shortest such comparison: fails when the gate has become slow
#   make bench-call    one login judged in process, by criterion
#   make lint    formatting, clippy with warnings denied
#   make policy DIR=policies/lockdown    one policy, as target/components/lockdown.wasm
#
# WASM_STD chooses where the standard library for WebAssembly comes from: auto, rustup or debian (componentize/setup).

WASM_STD ?= auto
CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export WASM_STD CARGO_TARGET_DIR

.PHONY: run test build deb deb-package bench bench-check bench-call bench-build lint policy components componentize setup

run: components
	cargo build --locked --workspace --bin mqtt-gate
	@mkdir -p $(CARGO_TARGET_DIR)/demo
	@cp $(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/demo/policy.wasm
	@printf 'Policies to copy over the one of the demonstration:\n  %s\n  %s\n\n' \
		$(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/components/lockdown.wasm
	@$(CARGO_TARGET_DIR)/debug/mqtt-gate serve --demo --policy $(CARGO_TARGET_DIR)/demo/policy.wasm

build: setup
	cargo build --locked --release --bin mqtt-gate

deb: build components deb-package

# The package of what has been built.
deb-package:
	@command -v cargo-deb >/dev/null || { echo 'no cargo-deb: cargo install cargo-deb --locked' >&2; exit 1; }
	@mkdir -p $(CARGO_TARGET_DIR)/release/deb
	cp $(CARGO_TARGET_DIR)/components/*.wasm $(CARGO_TARGET_DIR)/release/deb/
	for shell in bash fish zsh; do $(CARGO_TARGET_DIR)/release/mqtt-gate completions $$shell \
		>$(CARGO_TARGET_DIR)/release/deb/mqtt-gate.$$shell || exit 1; done
	cargo deb --no-build --strip --locked --package mqtt-gate

test: setup
	@tests/setup $(CARGO_TARGET_DIR)
	cargo test --workspace --locked

bench: bench-build
	$(CARGO_TARGET_DIR)/release/bench run --gate $(CARGO_TARGET_DIR)/release/mqtt-gate \
		--component $(CARGO_TARGET_DIR)/components/auth_core.wasm --write docs

bench-check: bench-build
	$(CARGO_TARGET_DIR)/release/bench check --gate $(CARGO_TARGET_DIR)/release/mqtt-gate

bench-call: setup
	cargo bench --locked --package bench --bench call

# Both at once: they share what they are linked from. And a host of wasi:http, of libraries that the tests have built already.
bench-build: setup
	cargo build --locked --release --package mqtt-gate --package bench
	cargo build --locked --workspace --bin wasi-host

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The policies of this repository and the filter for Envoy, as files for an operator: target/components/*.wasm
components: componentize
	$(CARGO_TARGET_DIR)/debug/componentize auth-core policies/lockdown --module proxies/envoy-filter

policy: componentize
	$(CARGO_TARGET_DIR)/debug/componentize $(DIR)

# With --workspace, here and in `run`, so that what is built once serves the tests too. Without --locked, so that a policy
# can be added.
componentize: setup
	cargo build --workspace --bin componentize

setup:
	@componentize/setup $(WASM_STD) $(CARGO_TARGET_DIR)
