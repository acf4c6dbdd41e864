# The verbs of this repository; each does its own set-up. `make help` lists them.

export PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
# Tells pgrx which PostgreSQL to build for, so that no `cargo pgrx init` is needed.
export PGRX_PG_CONFIG_PATH := $(PG_CONFIG)

.DEFAULT_GOAL := help
.PHONY: help demo psql test bench bench-engine bench-recommend bench-generators install fmt lint clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install ## Show pg_teller at work in a private server, statement by statement
	@scripts/demo.sh

psql: ## Go on by hand in the demo's server; it is stopped when psql ends
	@scripts/psql.sh

test: ## Test the crates, then the extension in a private server
	@scripts/setup.sh
	cargo test --workspace --exclude pg_teller --exclude teller-tests
	@scripts/neon.sh
	@scripts/install.sh
	cargo test -p teller-tests

bench: install ## Measure what SQL costs, all of it or ONLY=first_call
	@scripts/setup.sh peers
	@scripts/peers.sh serving recommend
	cargo bench -q -p teller-tests --bench sql -- $(ONLY)

bench-engine: ## Measure the network engine beside ONNX Runtime, Keras and PyTorch, its kernel beside gemm
	@scripts/setup.sh peers
	@scripts/peers.sh serving training
	cargo bench -q -p teller-nn --bench engine -- $(ONLY)
	cargo bench -q -p teller-numeric --bench kernels

bench-recommend: ## Measure the recommenders beside implicit, SciPy and NumPy, all of it or ONLY=top_k
	@scripts/setup.sh peers
	@scripts/peers.sh recommend
	cargo bench -q -p teller-recommend --bench recommend -- $(ONLY)

bench-generators: ## Measure the generators of table rows, judged by scikit-learn, all or ONLY=tabular_vae
	@scripts/setup.sh peers
	@scripts/peers.sh generators
	cargo bench -q -p teller-nn --bench generators -- $(ONLY)

install: ## Build the extension and install it into the PostgreSQL of PG_CONFIG
	@scripts/setup.sh
	@scripts/install.sh

fmt: ## Format the Rust sources
	cargo fmt --all

lint: ## Check format, lints and the length of files
	@scripts/setup.sh
	@scripts/lint.sh

clean: ## Remove what was built, the tools and the demo's server
	@scripts/demo.sh --remove
	cargo clean
