# Everything runs in an environment of its own, made from constraints.txt on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Real recordings and pre-trained weights, if they lie next to the checkout or at the default place.
DATA := $(firstword $(wildcard ../shared/data_home $(HOME)/speechsent_data))
ifneq ($(DATA),)
export SPEECHSENT_DATA ?= $(abspath $(DATA))
endif

PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test check test-plain test-data table1 lint clean

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py

test: check test-plain test-data

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Without a data home, or nobody would notice a test that needs one and does not say so.
test-plain: $(STAMP)
	SPEECHSENT_DATA=$(CURDIR)/no_data_home $(PYTEST) -m "not data"

test-data: $(STAMP)
ifdef SPEECHSENT_DATA
	$(PYTEST) -m data
else
	@echo "There is no data home: tests marked 'data' do not run. SPEECHSENT_DATA says where it is."
endif

# About ten minutes, less where features are cached. The row of openSMILE is skipped unless the extra
# "benchmark" is installed.
table1: $(STAMP)
	$(BIN)/python -m experiments.table1 --corpus ravdess --out results/table1.json \
		--rows small,medium,large,mfb,egemaps,embedding

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo_output speechsent_cache build *.egg-info
