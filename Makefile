# Each target is one or two tellapart commands; README.md has the same for Windows, where there is no make.
PYTHON ?= python3
TELLAPART = .venv/bin/python -m tellapart

.PHONY: help demo course test check test-all lab app docs fuzz bench

help: ## What can be made (this list)
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: course ## From nothing to the app at http://localhost:8866: the course, then serve its model
	@$(TELLAPART) serve

course: .venv/pyvenv.cfg ## Run the course's notebooks: gather, check, train, clean, export
	@$(TELLAPART) install learn
	@$(TELLAPART) run

app: .venv/pyvenv.cfg ## Serve the app with the model that is there
	@$(TELLAPART) install
	@$(TELLAPART) serve

lab: .venv/pyvenv.cfg ## Open the course in JupyterLab
	@$(TELLAPART) install learn
	@$(TELLAPART) lab

docs: .venv/pyvenv.cfg ## Build the site, API reference included,
	@$(TELLAPART) install docs
	@$(TELLAPART) docs

test: .venv/pyvenv.cfg ## Run every library notebook and every test but the slow ones, in about twenty minutes
	@$(TELLAPART) install test
	@$(TELLAPART) test

check: .venv/pyvenv.cfg ## Run what needs neither a browser nor a trained model: style, types, notebooks, tests; in about a minute
	@$(TELLAPART) install test
	@$(TELLAPART) test --quick

test-all: .venv/pyvenv.cfg ## Run the slow tests too: fresh environments, thousands of photos, many repetitions; in about an hour
	@$(TELLAPART) install test
	@$(TELLAPART) test --all

fuzz: .venv/pyvenv.cfg ## Try made-up input on every gate of foreign data: make fuzz MINUTES=10
	@$(TELLAPART) install test
	@FUZZ_MINUTES=$(or $(MINUTES),10) $(TELLAPART) test -- -k fuzz

bench: .venv/pyvenv.cfg ## Run all benchmarks, with your photos: make bench PHOTOS=DIR
	@$(TELLAPART) install bench
	@$(TELLAPART) bench $(if $(PHOTOS),--photos "$(PHOTOS)")

bench-%: .venv/pyvenv.cfg ## Run one benchmark, such as bench-answer
	@$(TELLAPART) install bench
	@$(TELLAPART) bench $* $(if $(PHOTOS),--photos "$(PHOTOS)")

# uv installs in seconds what takes pip minutes; where it can't be had, `tellapart install` makes do with pip.
.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tellapart needs Python 3.11 or newer: name one, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { rm -f $@; echo "Python could not make .venv; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@.venv/bin/python -m pip install --quiet uv || true
