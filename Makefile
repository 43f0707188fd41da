# make demo       the quick study, from nothing
# make test       lint, type hints and the test suite
# make test-long  the long samplings
# make test-full  the data sets at their published size
# make docs       the API reference, build/docs/index.html, and the notebooks
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
  2>/dev/null && echo $$p && break; done)
RUN := .venv/bin/python
PYTEST := $(RUN) -m pytest --numprocesses=2
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-long test-full docs format clean
demo: .venv/ready
	$(RUN) -m experiments.init_study --preset=quick --init=he_uniform \
	  --output_dir=runs/demo

test: .venv/dev-ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PYTEST) --dist=loadfile --no-loadscope-reorder -m 'not long and not full'

test-long: .venv/dev-ready
	$(PYTEST) --dist=worksteal -m long

test-full: .venv/dev-ready
	$(PYTEST) --dist=worksteal -m full

docs: .venv/dev-ready
	rm -rf build/docs
	$(RUN) -m pdoc --docformat google --output-directory build/docs qinit
	$(RUN) notebooks/render.py build/docs/notebooks

format: .venv/dev-ready
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.venv/ready: requirements.txt setup.cfg
	@test -n "$(PYTHON)" || { echo "qinit needs Python 3.11 or 3.12: set PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet -r requirements.txt
	.venv/bin/pip install --quiet --no-deps -e .
	touch $@

.venv/dev-ready: .venv/ready
	.venv/bin/pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build runs
