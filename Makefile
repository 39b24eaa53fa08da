# Every target works from a bare clone with Python 3.11 to 3.13 and a package index: it makes .venv and installs into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off -c constraints.txt
PACKAGES := envs experiments policies rewards rollout
# What the type checker and `PYTHONPATH=.links` see: videozoom/<package> -> the folder of that name.
LINKS := $(PACKAGES:%=.links/videozoom/%)

.PHONY: demo test lint format docs links clean
.DEFAULT_GOAL := test

demo: $(STAMP)  ## Train a zoom-in agent from nothing and write runs/demo/report.html.
	$(BIN)/videozoom demo $(ARGS)

test: $(STAMP)  ## Run the tests (no GPU, no network, minutes).
	$(BIN)/python -m pytest -m "not slow and not gpu" $(ARGS)

lint: $(STAMP) links  ## Check style, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Mend style and formatting in place.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Write the pages of settings and metrics again.
	$(BIN)/python -m videozoom.experiments.reference_pages

links: $(LINKS)

$(LINKS): .links/videozoom/%:
	@mkdir -p .links/videozoom
	@ln -sfn ../../$* $@

# torch first and alone: no other package can then pull a newer build. setuptools is pinned, so no build isolation.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "videozoom needs \
	Python 3.11 to 3.13, but $(PYTHON) is " + sys.version.split()[0] + "; run: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools torch
	$(PIP) --no-build-isolation -e ".[dev]"
	@touch $@

clean:  ## Remove everything that make and the tools created, except runs/.
	rm -rf $(VENV) .links build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
