# make demo   build, pull the default model, sweep it, show the result
# make test   everything CI runs
# make test-firefox   the page of midlayer serve in Firefox; make test has Chromium
# make test-runtimes   the plugin in llama.cpp runtimes from package registries (fetched, checked)
# make test-prebuilt   the quickest of them, a prebuilt llama-server, at one layer (Linux on x86-64)
# make test-metal-twin   Metal's scheduling without a Mac, on every architecture (Linux)
# make test-blas-twin   products by a library, as Accelerate's on a Mac, on every architecture (Linux)
# make test-slurm   runs in parts on a SLURM that is brought up on this machine (Linux, root)
# make test-rpc   layers on other machines, on two servers on this one (feature rpc)
# make sanitize   the tests under AddressSanitizer and UBSan, llama.cpp included (Linux, nightly Rust)
# make miri   the unit tests of what is pure Rust under Miri (nightly Rust)
# make docs   the documentation as a book (mdBook), and that of the library
# make wheel   the Python package, for the processor at hand (RUSTFLAGS= for others, too)
# make wheel-variants   one wheel with builds for old and new x86-64 processors
# make test-python   the first of these, installed into an environment of its own and tested there
# make notebooks   the notebooks of examples/ anew, on the default model
# make install   the program onto your path
# make release   the program, the plugin and the wheel packed for other machines
# make bench  what the callback and generation cost on this machine

# llama.cpp takes minutes to compile, so one target folder serves every checkout.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/midlayer/target

# The processor's own instructions, where the default build leaves some unused (RUSTFLAGS= for
# a program that runs on other machines, too).
ifeq ($(origin RUSTFLAGS),undefined)
RUSTFLAGS := $(shell scripts/cpu-flags)
endif
ifneq ($(strip $(RUSTFLAGS)),)
export RUSTFLAGS
else
unexport RUSTFLAGS
endif

MIDLAYER = $(CARGO_TARGET_DIR)/release/midlayer
NEXTEST = $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run || echo test)

.PHONY: demo test test-firefox test-python notebooks wheel wheel-variants test-runtimes test-prebuilt test-metal-twin test-blas-twin test-slurm test-rpc sanitize miri plugin build install release setup format lint api docs bench clean-demo

demo: build
	$(MIDLAYER) pull smollm2-135m
	$(MIDLAYER) sweep -m smollm2-135m:q8_0 --task capitals \
		--manipulate freeze,random,shuffle,skip-attention,inject \
		--layers all --limit 100 --out runs/demo

clean-demo:
	rm -rf runs/demo

setup:
	@scripts/setup

build: setup
	cargo build --release --locked

# Onto your path, into ~/.cargo/bin.
install: setup
	cargo install --path . --locked
	strip -S "$${CARGO_INSTALL_ROOT:-$${CARGO_HOME:-$$HOME/.cargo}}/bin/midlayer"

# The program, the plugin and the wheel, packed, with checksums.
release: setup
	scripts/release

# The plugin and the C programs around it: a C compiler and Rust, no llama.cpp.
plugin: setup
	cargo build --release --locked -p midlayer-plugin

test: setup format lint api plugin
	@scripts/browser chromium
	cargo $(NEXTEST) --release --locked --lib --bins --tests
	cargo $(NEXTEST) --release --locked -p midlayer-plugin --tests
	cargo test --release --locked --doc
	scripts/test-python

test-firefox: setup
	@scripts/browser firefox
	MIDLAYER_BROWSER=firefox MIDLAYER_REQUIRE=firefox cargo test --release --locked --test page -- a_browser

wheel: setup
	scripts/wheel

# llama.cpp is built for each.
wheel-variants: setup
	WHEEL_CPUS="avx2 avx512" scripts/wheel

test-python: setup
	scripts/test-python

notebooks: setup
	scripts/notebooks

test-runtimes: build plugin
	scripts/test-runtimes

test-prebuilt: build plugin
	scripts/test-runtimes --quick server

test-metal-twin: setup
	MIDLAYER_TWIN=whole cargo $(NEXTEST) --release --locked --test metal_twin

# OpenBLAS, of the tests alone (Debian: libopenblas0-pthread).
test-blas-twin: setup
	MIDLAYER_TWIN=whole MIDLAYER_REQUIRE=blas cargo $(NEXTEST) --release --locked --test blas_twin

test-slurm: setup
	MIDLAYER_REQUIRE=slurm cargo test --release --locked --test slurm -- --nocapture

test-rpc: setup
	cargo test --release --locked --features rpc --test rpc

sanitize: setup
	scripts/sanitize

miri: setup
	scripts/miri

format:
	cargo fmt --all --check
	rustfmt --check --edition 2024 src/intervention/manipulations/*.rs # declared by a macro

lint:
	cargo clippy --release --locked --all-targets -- -D warnings
	cargo clippy --release --locked -p midlayer-plugin --lib --tests -- -D warnings
	cargo clippy --release --locked -p midlayer-python --lib -- -D warnings

api:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --lib

# mdBook is a program of its own, built once for all checkouts.
docs: setup api
	@command -v mdbook >/dev/null || env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install --locked mdbook
	rm -rf $(CARGO_TARGET_DIR)/book
	mdbook build docs --dest-dir $(CARGO_TARGET_DIR)/book/docs
	# What pages point to outside of docs/.
	mkdir $(CARGO_TARGET_DIR)/book/plugin
	cp -R examples $(CARGO_TARGET_DIR)/book/
	cp -R plugin/include plugin/examples $(CARGO_TARGET_DIR)/book/plugin/
	@echo "the book: $(CARGO_TARGET_DIR)/book/docs/index.html"

bench: build
	$(MIDLAYER) pull smollm2-135m
	$(MIDLAYER) bench callback -m smollm2-135m
	$(MIDLAYER) bench callback -m smollm2-135m:q8_0
	$(MIDLAYER) bench generation -m smollm2-135m:q8_0
