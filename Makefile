# Everything runs in an environment of its own, made from constraints.txt on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

# Real recordings and pre-trained weights, if they lie next to the checkout or at the default place.
DATA := $(firstword $(wildcard ../shared/data_home $(HOME)/speechsent_data))
ifneq ($(DATA),)
export SPEECHSENT_DATA ?= $(abspath $(DATA))
endif

# Many tests start processes, each of which would compile the package again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo serve test check suite gpu table1 runtime docs lint clean

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py

# A page with a microphone, for the ready model.
serve: $(STAMP)
	$(BIN)/speechsent serve valence-acted

test: check suite

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests marked "data" are skipped where there is no data home; all others see none in any case.
suite: $(STAMP)
	$(PYTEST)

# In one process, which has the device to itself.
gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu tests/gpu

# About ten minutes, less where features are cached. The row of openSMILE is skipped unless the extra
# "benchmark" is installed.
table1: $(STAMP)
	$(BIN)/python -m experiments.table1 --corpus ravdess --out results/table1.json \
		--rows small,medium,large,mfb,egemaps,embedding

# The commands of docker/Dockerfile.runtime, into a folder, whose size in MB is printed.
runtime:
	rm -rf build/runtime
	PYTHON=$(PYTHON) sh docker/install_runtime.sh --quiet --target build/runtime
	cd build && PYTHONPATH=runtime $(PYTHON) -S -c "import sklearn_speechsent.runtime"
	du -sm build/runtime

# The site, in build/docs: open build/docs/index.html. A warning, also of a link that leads nowhere, is
# an error. Examples run once, and again when they have changed.
docs: $(STAMP) $(DOCS_STAMP)
	$(BIN)/sphinx-build -W --keep-going -b html -d build/doctrees docs build/docs
	du -sm build/docs

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) demo_output speechsent_cache build docs/gallery docs/generated *.egg-info
