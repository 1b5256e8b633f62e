# make demo   build, pull the default model, sweep it, show the result
# make test   everything CI runs
# make bench  what the callback and generation cost on this machine

# llama.cpp takes minutes to compile, so one target folder serves every checkout.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/midlayer/target

MIDLAYER = $(CARGO_TARGET_DIR)/release/midlayer
NEXTEST = $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run || echo test)

.PHONY: demo test build setup format lint docs bench clean-demo

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

test: setup format lint docs
	cargo $(NEXTEST) --release --locked --lib --bins --tests
	cargo test --release --locked --doc

format:
	cargo fmt --check

lint:
	cargo clippy --release --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --lib

bench: build
	$(MIDLAYER) pull smollm2-135m
	$(MIDLAYER) bench callback -m smollm2-135m
	$(MIDLAYER) bench callback -m smollm2-135m:q8_0
	$(MIDLAYER) bench generation -m smollm2-135m:q8_0
