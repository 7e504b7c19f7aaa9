# make demo    from nothing to two audited checkpoints and their reports
# make test    lint, types, layers, tests
# make bench   speed, as ratios measured side by side
# make audits  the reference audits in reports/

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test lint bench audits install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,dev]'
	touch $@

demo: install
	$(BIN)/python fixtures/demo.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest

bench: install
	$(BIN)/python reports/bench.py

audits: install
	$(BIN)/python reports/audits.py

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
