# cargo from the PATH, or from where rustup puts it.
CARGO ?= $(shell command -v cargo || echo "$(HOME)/.cargo/bin/cargo")

.DEFAULT_GOAL := help
.PHONY: help run test bench demo rust redis chromium

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1	/'

run: rust redis ## Start a gateway on http://127.0.0.1:8080 with a Redis of its own
	$(CARGO) run --release -- serve

test: rust redis chromium ## Check format and lints, then run all tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test

bench: rust redis ## Run the named benchmark scenarios
	$(CARGO) bench

demo: rust redis ## Replay a trace of LLM calls through a gateway and show the outcome
	CARGO="$(CARGO)" scripts/demo.sh

rust:
	@command -v $(CARGO) >/dev/null || { \
		echo "cargo not found: install Rust 1.90 or later, see https://rustup.rs" >&2; exit 1; }

redis:
	@scripts/install-redis.sh

chromium:
	@scripts/install-chromium.sh
