# `make book` builds the site, `make test` checks everything. Both need Python 3.11 or newer and
# set up .venv themselves: once, when the requirements change, and when it no longer works. `make parity` and
# `make bench` compare with scvi-tools, in an environment of its own, .venv-scvi.
#
# Tests run on all cores, each file whole on one of them; `make test WORKERS=1` takes one.

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)

# Only the python in there is run: scripts name it by its path, which breaks them at a dollar or a quote.
BIN := .venv/bin
READY := .venv/.ready
BIN_SCVI := .venv-scvi/bin
READY_SCVI := .venv-scvi/.ready
SITE := _build/html/index.html
COMPUTE := $(patsubst %,tests/test_%.py,distributions likelihoods fast mlp module evaluation \
  bounds expression)
SPREAD := -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help book serve pdf colab types quick-tests all-tests any-processor check test robust parity \
  bench mutants census outputs front picture student grade package fresh home branch clean
.DELETE_ON_ERROR:

help:
	@echo "make book     build the site into $(SITE)"
	@echo "make pdf      print the whole book into one file (needs Chromium)"
	@echo "make serve    show it on http://localhost:$(PORT)"
	@echo "make check    run the quick tests, in about a minute: after each change"
	@echo "make test     run all tests and every notebook"
	@echo "make robust   run them with other seeds, on lesser processors, in other places (hours)"
	@echo "make parity   compare the loss with that of scvi-tools"
	@echo "make bench    race scvi-tools (hours; benchmarks/run.py says how to run parts)"
	@echo "make mutants  break each formula of the core and see a test fail (half an hour)"
	@echo "make census   count words, figures, exercises, claims; time each chapter"
	@echo "make outputs  run the notebooks and store what they show"
	@echo "make front    train a model and store the front page's map of its cells"
	@echo "make picture  film that map for the README (needs Chromium)"
	@echo "make student  write student/, the notebooks without the solutions; CHAPTER=\"5 6\" or 5-7 for some"
	@echo "make grade    check the answers of a class: CLASS=a folder of students' folders"
	@echo "make home     write the public address where it belongs: REPO=owner/name"
	@echo "make package  build the wheel, and run the README's example with it"
	@echo "make fresh    check with the newest versions that are allowed; RESOLUTION=lowest-direct"
	@echo "make colab    read again what Colab brings, and resolve the package against it"
	@echo "make clean    remove what was built (not .venv, not student/)"

book: $(READY)
	$(BIN)/python -c 'from jupyter_book.cli.main import main; main()' build --all -W -n --keep-going .
	@echo "The book is at $(SITE)"

serve: $(READY)
	@test -f $(SITE) || $(MAKE) book
	@echo "The book is on http://localhost:$(PORT) (Ctrl-C stops it)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(dir $(SITE))

# Beside the pages, which it joins.
pdf: $(READY)
	@test -f $(SITE) || $(MAKE) book
	$(BIN)/python tools/pdf.py

# The tests, and beside them what takes one core.
check: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 quick-tests types

test: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 all-tests types any-processor

quick-tests: $(READY)
	$(BIN)/python -m pytest -q $(SPREAD) -m "not slow" tests

all-tests: $(READY)
	$(BIN)/python -m pytest $(SPREAD) tests --nbval book/

# What computes, as on the least of processors. Other conditions: `make robust`.
any-processor: $(READY)
	ATEN_CPU_CAPABILITY=default $(BIN)/python -m pytest -q -m "not slow" $(COMPUTE)

types: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

robust: $(READY)
	$(BIN)/python tools/robust.py

parity: $(READY_SCVI)
	$(BIN_SCVI)/python -m pytest tests/parity

bench: $(READY_SCVI)
	$(BIN_SCVI)/python -m benchmarks.run all

mutants: $(READY)
	$(BIN)/python tools/mutants.py

census: $(READY)
	$(BIN)/python tools/census.py --time

outputs: $(READY)
	$(BIN)/python tools/outputs.py

front: $(READY)
	$(BIN)/python tools/front_page.py

picture: $(READY)
	$(BIN)/python tools/front_picture.py

student: $(READY)
	$(BIN)/python tools/student.py $(foreach n,$(CHAPTER),--chapter $(call quoted,$(n)))

grade: $(READY)
	@test -n $(call quoted,$(CLASS)) || { echo "Name the folder: make grade CLASS=folder" >&2; exit 1; }
	$(BIN)/python tools/grade.py -- $(call quoted,$(CLASS))

# Wheel and sdist, and the README's example with the wheel in an environment that has nothing else.
package:
	rm -rf dist && $(call quoted,$(PYTHON)) -m venv --clear .venv-package
	.venv-package/bin/python -m pip install --quiet --disable-pip-version-check build twine
	.venv-package/bin/python -m build --outdir dist .
	.venv-package/bin/python -m twine check --strict dist/*
	$(call quoted,$(PYTHON)) -m venv --clear .venv-package
	.venv-package/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	.venv-package/bin/python tools/readme.py

# Releases of different years warn of each other, which says nothing of this package.
# The checker with the oldest (RESOLUTION=lowest-direct) or newest versions that pyproject.toml allows.
RESOLUTION ?= highest
fresh:
	$(call quoted,$(PYTHON)) -m venv --clear .venv-fresh
	.venv-fresh/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-fresh/bin/python -m uv pip install --quiet --python .venv-fresh --resolution $(RESOLUTION) -e ".[test]"
	.venv-fresh/bin/python -m pytest $(SPREAD) -o filterwarnings=default --ignore tests/book \
	  --ignore tests/browser tests --nbval book/

# Colab's list of packages, read again, and whether this one fits into it.
colab: $(READY)
	PATH=$(call quoted,$(CURDIR)/$(BIN)):"$$PATH" $(BIN)/python tools/colab.py

home: $(READY)
	@test -n $(call quoted,$(REPO)) || { echo "Name the place: make home REPO=owner/name" >&2; exit 1; }
	$(BIN)/python tools/home.py -- $(call quoted,$(REPO))

# A folder becomes the only commit of the branch of its name, in the repository TO.
FOLDER ?= student
TO ?= https://x-access-token:$$GITHUB_TOKEN@github.com/$$GITHUB_REPOSITORY.git
branch:
	@git=$$(mktemp -d) && trap 'rm -rf "$$git"' EXIT && export GIT_DIR="$$git" && \
	git init --quiet --bare --initial-branch=$(FOLDER) && git config core.bare false && \
	git --work-tree=$(FOLDER) add --all && \
	git -c user.name=nbvae -c user.email=nbvae@users.noreply.github.com \
	  --work-tree=$(FOLDER) commit --quiet --message="The folder $(FOLDER) as it was made" && \
	git push --quiet --force "$(TO)" $(FOLDER)

clean:
	rm -rf _build dist build .venv-package .venv-fresh .venv-try .pytest_cache .ruff_cache

# The stamp comes last: an interrupted installation is taken up again. An environment that doesn't
# work (empty, half made, of a Python that is gone or too old, a link to nowhere) is made anew.
quoted = '$(subst ','\'',$(1))'
new_enough := import sys; sys.exit(sys.version_info < (3, 11))
works = $(shell $(1)/bin/python -c '$(new_enough)' 2>/dev/null && echo yes)

define install
@$(call quoted,$(PYTHON)) -c '$(new_enough)' 2>/dev/null || \
  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12" >&2; exit 1; }
@$(1)/bin/python -c '$(new_enough)' 2>/dev/null && $(1)/bin/python -m pip --version >/dev/null 2>&1 || \
  { test -d $(1) || rm -f $(1); $(call quoted,$(PYTHON)) -m venv --clear $(1); }
@echo "Installing $(2) into $(1) (some minutes, only now) …"
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
@touch $@
endef

$(READY): requirements.txt pyproject.toml $(if $(call works,.venv),,renew)
	$(call install,.venv,what the book needs)

$(READY_SCVI): benchmarks/requirements.txt pyproject.toml $(if $(call works,.venv-scvi),,renew)
	$(call install,.venv-scvi,scvi-tools)

.PHONY: renew
