# cargo from the PATH, or from where rustup puts it.
CARGO ?= $(shell command -v cargo || echo "$(HOME)/.cargo/bin/cargo")

# The compiler with Clippy's lints as errors.
LINTED := RUSTC_WORKSPACE_WRAPPER="$(CURDIR)/scripts/lint.sh" CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__

.DEFAULT_GOAL := help
PREFIX ?= /usr/local

# What `make run` builds: less optimised than a release, in less time (Cargo.toml).
QUICK := $(or $(CARGO_TARGET_DIR),target)/quick/quotagate

.PHONY: help run install test check generate sdk hostile fuzz chaos soak bench count audit demo pictures release rust redis sdk-tools chromium

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1	/'

run: rust redis ## Start a gateway on http://127.0.0.1:8080 with a Redis of its own
	@[ -x $(QUICK) ] || echo "Building quotagate: about 5 minutes on 2 cores, the first time only."
	@$(CARGO) build --profile quick --locked
	@exec $(QUICK) serve

install: $(if $(BINARY),,release) ## Install the program, man pages and completions; PREFIX=/usr/local by default
	DESTDIR="$(DESTDIR)" scripts/install.sh "$(or $(BINARY),$(or $(CARGO_TARGET_DIR),target)/release/quotagate)" "$(PREFIX)"

test: rust redis sdk-tools chromium ## Check format and lints, and run all tests, also of the SDKs
	$(CARGO) fmt --all --check
	$(LINTED) CARGO="$(CARGO)" scripts/test.sh

check: rust redis ## Check format and lints, then run the quick tests: units, scripts, five seconds of the model
	$(CARGO) fmt --all --check
	$(LINTED) $(CARGO) test --no-run --workspace --all-targets
	$(LINTED) MODEL_SECONDS=$${MODEL_SECONDS:-5} $(CARGO) test --workspace --lib --bins --test scripts --test model

generate: rust sdk-tools ## Write OpenAPI, config schema, command line page and SDK models again
	CARGO="$(CARGO)" scripts/generate.sh

sdk: rust redis sdk-tools ## Run the tests of the SDKs
	$(CARGO) build
	scripts/test-sdks.sh

hostile: rust redis sdk-tools ## Send calls made from the API document; HOSTILE_SECONDS=900 for many
	$(CARGO) build
	scripts/test-hostile.sh

fuzz: rust ## Fuzz the parsers, SECONDS_EACH=60 each
	CARGO="$(CARGO)" scripts/fuzz.sh

chaos: rust redis ## Run the long fault tests, with traffic under way
	$(CARGO) test --test faults -- --ignored --nocapture --test-threads 1

soak: rust redis sdk-tools ## Repeat random histories and faults, SOAK_SECONDS=600 or as long as one likes
	CARGO="$(CARGO)" scripts/soak.sh

bench: rust redis ## Run the named benchmark scenarios
	$(CARGO) bench

count: rust redis ## Count the instructions of each call in Redis and in the gateway (needs valgrind)
	CARGO="$(CARGO)" scripts/count.py

demo: rust redis ## Replay a trace of LLM calls through a gateway and show the outcome
	CARGO="$(CARGO)" crates/replay/demo.sh

audit: sdk-tools ## Look for known advisories of all dependencies
	scripts/audit.py

pictures: rust redis chromium ## Take the pictures of docs/dashboard anew; REVIEW=folder to look at all widths
	CARGO="$(CARGO)" scripts/dashboard-pictures.py

release: rust redis ## Build target/release/quotagate with a profile of its calls: 20 minutes on 2 cores
	CARGO="$(CARGO)" scripts/release.sh

rust:
	@command -v $(CARGO) >/dev/null || { \
		echo "cargo not found: install Rust 1.90 or later, see https://rustup.rs" >&2; exit 1; }
	@command -v $(firstword $(CC)) >/dev/null || { \
		echo "$(firstword $(CC)) not found: install a C compiler, on Debian with 'sudo apt-get install build-essential'" >&2; exit 1; }

sdk-tools:
	@scripts/install-sdk-tools.sh

redis:
	@scripts/install-redis.sh

chromium:
	@scripts/install-chromium.sh
