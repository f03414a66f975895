# make run: a demo town behind Branchline on 127.0.0.1:3307. make test: everything. make help: the rest.
PORT ?= 3307
CARGO ?= cargo
SHELL := /bin/sh

.PHONY: help run test soak check dolt bench fuzz-check clean
.DEFAULT_GOAL := help

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: dolt ## Serve a demo town on 127.0.0.1:PORT (default 3307), in the foreground
	@$(CARGO) build --release --locked
	@PORT=$(PORT) scripts/demo-town.sh

test: dolt ## Every test, with real Dolt and real clients; the last line is `N passed, N failed`
	@tests/clients/prepare.sh >/dev/null
	@tests/support/git/prepare.sh
	@FUZZ_SECONDS=0 scripts/fuzz-check.sh
	@scripts/run-tests.sh

soak: dolt ## Random transactions under faults for BRANCHLINE_SOAK_S seconds (600); BRANCHLINE_SEED repeats a run
	@BRANCHLINE_SOAK_S=$${BRANCHLINE_SOAK_S:-600} \
	$(CARGO) test --locked --test history histories_under_faults -- --nocapture

check: ## Format, lints, tidy, dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --test tidy
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check licenses bans sources; \
	else echo "cargo-deny is not installed: dependencies not checked"; fi

dolt: ## Find Dolt 1.81.8 or newer, or build the pinned one (4 to 7 minutes, once)
	@scripts/get-dolt.sh

bench: dolt ## Compare direct, HAProxy and Branchline
	@$(CARGO) build --release --locked
	@$(CARGO) bench --locked --bench e2e

fuzz-check: ## Compile the fuzz targets; run each for FUZZ_SECONDS (5) if cargo-fuzz and nightly are there
	@scripts/fuzz-check.sh

clean: ## Remove what was built here, and the demo town; cached downloads stay
	@if [ -d .demo/town ] && [ -x target/release/branchline ]; then \
	  target/release/branchline stop --state-dir .demo/town/daemon >/dev/null 2>&1 || true; fi
	rm -rf target .tools .demo fuzz/target
