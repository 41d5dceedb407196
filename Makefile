# make run: train, distort, look; then open the page that it names.   make test: everything that is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# threads that wait leave their core to others: on a busy machine a training is many times faster
export OMP_WAIT_POLICY ?= passive

.PHONY: run test notebooks readme lab book wheel clean

run: $(VENV)/.ready
	$(BIN)/atviz run $(ARGS)

test: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup

# Executes the shipped notebooks in place; commit what changed.
notebooks: $(VENV)/.ready
	$(BIN)/atviz notebooks

# Copies the findings and figures of results/ into the README.
readme: run
	$(BIN)/atviz readme

# Jupyter refuses root, as in a container, unless it is told.
lab: $(VENV)/.ready
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root )notebooks

# Makes a static site of the notebooks, the pages and the docstrings; it needs no network.
book: $(VENV)/.ready
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c notebooks/book -d results/book/.cache . results/book/html
	@echo results/book/html/index.html

# Builds dist/atviz-….whl, installs it with all it needs into a new environment, and executes every notebook there from an empty folder.
wheel: $(VENV)/.ready
	$(BIN)/pip wheel --no-deps --no-build-isolation --wheel-dir dist .
	ATVIZ_WHEEL=$$(ls -t dist/*.whl | head -1) $(BIN)/python -m pytest tests/test_wheel.py

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "atviz needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) results checkpoints/local data/cache
