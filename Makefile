# Everything runs in an environment of its own, made from constraints.txt on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Real recordings and pre-trained weights, if they lie next to the checkout.
ifneq ($(wildcard ../shared/data_home),)
export SPEECHSENT_DATA ?= $(abspath ../shared/data_home)
endif

.PHONY: demo test table1 lint clean

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist worksteal

# About ten minutes, less where features are cached. The row of openSMILE is skipped unless the extra
# "benchmark" is installed.
table1: $(STAMP)
	$(BIN)/python -m experiments.table1 --corpus ravdess --out results/table1.json \
		--rows small,medium,mfb,egemaps,embedding

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo_output speechsent_cache build *.egg-info
