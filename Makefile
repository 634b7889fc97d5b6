# The commands of the project. Each sets up what it needs; on a machine with Rust nothing has to be done first.
#
#   make run     build the gate and serve a demonstration: prints a credential and the curl line that is let in
#   make test    every test
#   make lint    formatting, clippy with warnings denied
#   make policy DIR=policies/lockdown    one policy, as target/components/lockdown.wasm
#
# WASM_STD chooses where the standard library for WebAssembly comes from: auto, rustup or debian (componentize/setup).

WASM_STD ?= auto
CARGO_TARGET_DIR ?= $(CURDIR)/target
export WASM_STD CARGO_TARGET_DIR

.PHONY: run test lint setup components policy

run: components
	cargo build --release --bin mqtt-gate
	mkdir -p $(CARGO_TARGET_DIR)/demo
	cp $(CARGO_TARGET_DIR)/components/auth_core.wasm $(CARGO_TARGET_DIR)/demo/policy.wasm
	$(CARGO_TARGET_DIR)/release/mqtt-gate serve --demo --policy $(CARGO_TARGET_DIR)/demo/policy.wasm

test: setup
	cargo test --workspace --locked

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The policies of this repository, as files for an operator: target/components/*.wasm
components: setup
	cargo run --quiet --release --package componentize -- auth-core policies/lockdown

policy: setup
	cargo run --quiet --release --package componentize -- $(DIR)

setup:
	@componentize/setup $(WASM_STD) $(CARGO_TARGET_DIR)
