# Two commands matter: `make demo` and `make test`. Both set up .venv where missing.
PYTHON ?= python3
VENV ?= .venv
# Where to get torch when no wheel is at hand. CPU build by default; for a GPU, e.g.
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PYTEST_ARGS ?=

READY := $(VENV)/.ready
MIN_VENV := .venv-min
export PIP_DISABLE_PIP_VERSION_CHECK = 1

torch_from_index = $(1)/bin/python -m pip install -q --no-deps --index-url $(TORCH_INDEX) $(2)
ifeq ($(origin TORCH_INDEX),file)
# Nobody named an index, so a wheel in a folder that pip already knows will do.
install_torch = \
  $(1)/bin/python -m pip install -q --no-index --no-deps $(2) 2>/dev/null || \
  $(torch_from_index)
else
install_torch = $(torch_from_index)
endif

.PHONY: demo test test-slow test-min lint types dist check-no-extras doc docs docs-check benchmark clean help

help:
	@echo "make demo   compare the estimators with their baselines on the digits data"
	@echo "make test   run the test suite"
	@echo "also: lint types dist check-no-extras test-slow test-min docs docs-check benchmark clean"

demo: $(READY)
	$(VENV)/bin/python -m sklearn_whitebox compare --n-jobs 2 --output results

test: $(READY)
	MPLBACKEND=Agg SCIPY_ARRAY_API=1 OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python -m pytest -n 2 \
	    --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-slow: $(READY)
	MPLBACKEND=Agg SCIPY_ARRAY_API=1 OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python -m pytest -m slow \
	    $(PYTEST_ARGS)

# The list of checks is .pre-commit-config.yaml; what can be mended is mended.
lint: $(READY)
	$(VENV)/bin/pre-commit run --all-files --show-diff-on-failure

types: $(READY)
	$(VENV)/bin/mypy

# The sdist, and the wheel built from it: what users download.
dist: $(READY)
	rm -rf dist
	$(VENV)/bin/python -m build --quiet
	$(VENV)/bin/python tests/check_distributions.py dist

# That wheel must import, fit and predict with the required dependencies only.
BARE_VENV := .venv-bare
check-no-extras: dist
	test -d $(BARE_VENV) || $(PYTHON) -m venv $(BARE_VENV)
	$(BARE_VENV)/bin/python -m pip install -q --upgrade pip
	$(call install_torch,$(BARE_VENV),-c constraints.txt torch)
	$(BARE_VENV)/bin/python -m pip install -q -c constraints.txt dist/*.whl
	$(BARE_VENV)/bin/python -m pip install -q --force-reinstall --no-deps dist/*.whl
	cd tests && ../$(BARE_VENV)/bin/python check_no_extras.py

# Warnings are errors, references that lead nowhere included. One thread and sleeping
# waiters keep the examples quick on a busy machine.
SPHINX = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE MPLBACKEND=Agg \
  $(VENV)/bin/python -m sphinx -W -n --keep-going -b html
docs: $(READY)
	$(SPHINX) doc doc/_build/html
	$(VENV)/bin/python doc/check_site.py doc/_build/html

# The same without running the examples.
docs-check: $(READY)
	$(SPHINX) -D plot_gallery=0 -d doc/_build/check-doctrees doc doc/_build/check
	$(VENV)/bin/python doc/check_site.py doc/_build/check

doc: docs

benchmark: $(READY)
	$(VENV)/bin/python benchmarks/run_all.py

.PHONY: python-is-new-enough
python-is-new-enough:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "sklearn_whitebox needs Python 3.11 or newer, and '$(PYTHON)' was not found." \
	       "Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sklearn_whitebox needs Python 3.11 or newer, and '$(PYTHON)' is" \
	       "$$($(PYTHON) --version 2>&1). Name a newer one:" \
	       "make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }

$(READY): pyproject.toml constraints.txt | python-is-new-enough
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --upgrade pip
	$(call install_torch,$(VENV),-c constraints.txt torch)
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[dev]"
	@touch $(READY)

# The oldest supported versions. TORCH_MIN_PIN=2.13.0 keeps a torch that is at hand.
TORCH_MIN_PIN ?= 2.6.0
test-min: | python-is-new-enough
	test -d $(MIN_VENV) || $(PYTHON) -m venv $(MIN_VENV)
	$(MIN_VENV)/bin/python -m pip install -q --upgrade pip
	$(call install_torch,$(MIN_VENV),torch==$(TORCH_MIN_PIN))
	$(MIN_VENV)/bin/python -m pip install -q -c constraints-min.txt -e ".[test]"
	MPLBACKEND=Agg SCIPY_ARRAY_API=1 OMP_WAIT_POLICY=PASSIVE $(MIN_VENV)/bin/python -m pytest -n 2 \
	    --dist worksteal -m "not slow" $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) $(MIN_VENV) $(BARE_VENV) results build dist doc/_build doc/auto_examples doc/generated doc/sg_execution_times.rst
