# Everything starts from a bare machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/ci.txt -e
WORKERS ?= auto

.PHONY: demo test check bench clean

demo: $(VENV)/demo ## train four methods on real digits with five seeds each, and write a page
	$(BIN)/hardfirst compare digits

test: $(VENV)/test chromium
	$(BIN)/python -m pytest -q -n $(WORKERS) $(PYTEST)

check: $(VENV)/check $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/deptry .

bench: $(VENV)/test
	$(BIN)/python benchmarks/balancers.py
	$(BIN)/python benchmarks/studies.py

clean:
	rm -rf $(VENV) runs dist build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[cli]" && touch $@

$(VENV)/test: pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[test]" && touch $@

$(VENV)/check: pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[check]" && touch $@

.PHONY: chromium
chromium: ## the page is tested in a real browser where there is one, or where apt can install it
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
		|| echo "chromium is missing and could not be installed: the browser tests are skipped (apt-get install chromium)"
