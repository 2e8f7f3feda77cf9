# `make help` tells what there is. Whatever needs .venv makes it first.
.DEFAULT_GOAL := help
BIN := .venv/bin
STAMP := .venv/.complete
WORKERS ?= 3
SLOW_WORKERS ?= 2
PEERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nimad/peers
PEER_PYTHON ?= /usr/bin/python3
TARGET := $(if $(RELEASE),--release $(RELEASE)) $(if $(ARCH),--arch $(ARCH))

.PHONY: help setup run test test-slow test-alone test-web test-agents test-fleet client measure bench bench-peers bench-vsa bench-recall bench-migration minilm static lexicon lint deb
.PHONY: deb-minilm test-deb test-release test-vm test-pi test-card clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile
	@echo "  deb, test-deb and test-release take RELEASE=bookworm|trixie, deb takes ARCH=amd64|arm64, too"

setup: $(STAMP) ## make .venv with nimad, nimactl and the tools

$(STAMP): pyproject.toml packaging/setup.sh
	@packaging/setup.sh .venv
	@touch $@

run: $(STAMP) ## show the whole path once, on a daemon of its own
	@$(BIN)/python packaging/run_demo.py

test: $(STAMP) ## run all but the slow tests in WORKERS=3 processes; PYTEST="-x -k words" is passed on
	@NIMAD_TESTS_IN_MEMORY=1 $(BIN)/pytest -m "not slow and not fleet" --numprocesses $(WORKERS) --dist worksteal --durations 10 $(PYTEST)

test-slow: $(STAMP) ## run the slow tests in SLOW_WORKERS=2 processes, but those that test-alone runs
	@$(BIN)/pytest -m "slow and not alone and not agents and not browser and not fleet" --numprocesses $(SLOW_WORKERS) \
	  --dist worksteal --durations 10 $(PYTEST)

test-alone: $(STAMP) ## run the tests that measure waits or memory, one after another
	@$(BIN)/pytest -m "alone and not agents and not browser and not fleet" --durations 10 $(PYTEST)

test-agents: $(STAMP) ## try nimad with the clients of others: MCP's SDKs (npm is needed, and the network once)
	@$(BIN)/python packaging/fetch_agents.py
	@$(BIN)/pytest -m agents tests/agents --durations 10 $(PYTEST)

test-fleet: $(STAMP) ## run boards, their hub and crashes of all on a real PostgreSQL, which is made once (as root)
	@$(BIN)/python packaging/make_postgres.py
	@$(BIN)/pytest -m fleet tests/fleet --durations 10 $(PYTEST)

test-web: $(STAMP) ## walk through the pages of nimactl web in Chromium (chromium and npm are needed); SHOTS=folder
	@$(BIN)/python packaging/fetch_agents.py browser
	@NIMAD_SCREENSHOTS=$(SHOTS) $(BIN)/pytest -m browser tests/web $(PYTEST)

client: $(STAMP) ## write dist/nimad_client-*.whl, the client without the daemon
	@$(BIN)/python packaging/build_client.py

bench: $(STAMP) ## measure the index beside its peers, then migrations; BENCH="--sizes 1000000" is passed on
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@$(BIN)/python -m tests.benchmarks.compare $(BENCH)
	@$(BIN)/python -m tests.benchmarks.whole_path --json docs/growth.json --svg docs/growth.svg \
	  --sizes 1000 10000 100000 1000000
	@$(BIN)/python -m tests.benchmarks.migration

bench-peers: $(STAMP) ## measure the whole job beside SQLite, LanceDB and Chroma; PEER_PYTHON's sqlite3 must load extensions
	@test -x $(PEERS)/bin/python || $(PEER_PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  sqlite-vec==0.1.9 lancedb==0.40.0 chromadb==1.5.9
	@$(BIN)/python -m tests.benchmarks.whole_job --peers $(PEERS)/bin/python $(BENCH)

bench-migration: $(STAMP) ## measure how fast 50,000 memories come in, and what queries notice
	@$(BIN)/python -m tests.benchmarks.migration $(BENCH)

bench-vsa: $(STAMP) ## measure hypervectors into docs/; PEER=PYTHON names an interpreter that has torch-hd
	@$(BIN)/python -m tests.benchmarks.hypervectors --write $(if $(PEER),--peer $(PEER)) $(BENCH)

bench-recall: $(STAMP) ## measure recall on labelled sets, beside the usual ways: DATA=folder JSON=file BARS=file EMBEDDER=
	@$(BIN)/python packaging/bench_recall.py $(if $(JSON),--json $(JSON)) $(if $(BARS),--bars $(BARS)) \
	  $(if $(EMBEDDER),--embedder $(EMBEDDER)) $(if $(DATA),$(DATA),$(error give the labelled sets: DATA=folder))

static: minilm ## distil the static table again, and compare it with the one that is shipped
	@mkdir -p build
	@PYTHONPATH=. $${XDG_CACHE_HOME:-$$HOME/.cache}/nimad/teacher/bin/python \
	  packaging/distill_static.py --output build/static.tokens --check nimad/embed/data/static.tokens

lexicon: minilm ## make the lexicon of other languages again, and compare it with the one that is shipped
	@mkdir -p build
	@PYTHONPATH=. $${XDG_CACHE_HOME:-$$HOME/.cache}/nimad/teacher/bin/python \
	  packaging/distill_lexicon.py --output build/static.lexicon --check nimad/embed/data/static.lexicon

minilm: $(STAMP) ## make the model of the embedder minilm in ~/.cache/nimad (needs the network once)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[minilm]'
	@$(BIN)/python packaging/build_minilm.py

measure: $(STAMP) ## print the size and shape of the code: lines, files, functions, circles
	@$(BIN)/python -m tests.measure_code

lint: $(STAMP) ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

deb: $(STAMP) ## make the Debian package dist/nimad.deb
	@$(BIN)/python packaging/build_deb.py $(TARGET)

deb-minilm: minilm ## make dist/nimad-minilm.deb as well: the transformer as an embedder
	@$(BIN)/python packaging/build_deb.py $(TARGET) --minilm

test-deb: $(STAMP) ## install that package on a real systemd in a container and use it (as root)
	@$(BIN)/python packaging/test_deb.py $(TARGET) -- $(PYTEST)

test-release: $(STAMP) ## run what `make test` runs on another Debian release, trixie by default (as root)
	@$(BIN)/python packaging/test_release.py $(TARGET) -- -m "not slow and not fleet" --numprocesses $(WORKERS) --dist worksteal \
	  $(PYTEST)

test-vm: $(STAMP) ## the same on a machine of its own with 512 MB, limits and power cuts (as root)
	@$(BIN)/python packaging/test_vm.py $(TARGET) -- $(PYTEST)

test-pi: $(STAMP) ## the same on an emulated Raspberry Pi 5 with power cuts: QUICK=1 ROUNDS= MEMORY= PAGES=4k|16k BEFORE=package (as root)
	@$(BIN)/python packaging/test_pi.py $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(MEMORY),--memory $(MEMORY)) \
	  $(if $(PAGES),--pages $(PAGES)) $(if $(MEMORIES),--memories $(MEMORIES)) \
	  $(if $(BEFORE),--before $(BEFORE)) -- $(PYTEST)

test-card: $(STAMP) ## nimad on cards that lose, tear or reorder writes, fail or lie: ROUNDS= IMAGES= SEED= (as root)
	@$(BIN)/python packaging/test_card.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(IMAGES),--images $(IMAGES)) \
	  $(if $(SEED),--seed $(SEED)) -- $(PYTEST)

clean: ## remove what was built, but neither .venv nor the caches in ~/.cache/nimad
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
