# `make book` builds the site, `make test` checks everything. Both need Python 3.11 or newer and
# set up .venv themselves, once, and again when the requirements change.

PYTHON ?= python3
PORT ?= 8000

BIN := .venv/bin
READY := .venv/.ready
SITE := _build/html/index.html

.PHONY: help book serve test outputs student clean
.DELETE_ON_ERROR:

help:
	@echo "make book     build the site into $(SITE)"
	@echo "make serve    show it on http://localhost:$(PORT)"
	@echo "make test     run the tests and every notebook"
	@echo "make outputs  run the notebooks and store what they show"
	@echo "make student  write student/, the notebooks without the solutions"
	@echo "make clean    remove what was built (not .venv, not student/)"

book: $(READY)
	$(BIN)/jupyter-book build --all -W -n --keep-going .
	@echo "The book is at $(SITE)"

serve: $(READY)
	@test -f $(SITE) || $(MAKE) book
	@echo "The book is on http://localhost:$(PORT) (Ctrl-C stops it)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(dir $(SITE))

test: $(READY)
	$(BIN)/python -m pytest tests --nbval book/

outputs: $(READY)
	$(BIN)/python tools/outputs.py

student: $(READY)
	$(BIN)/python tools/student.py

clean:
	rm -rf _build .pytest_cache .ruff_cache

# The stamp comes last: an interrupted installation is taken up again. A .venv that no longer
# works (half made, or of a Python that is gone) is made anew.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing what the book needs into .venv (some minutes, only now) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
