# make run: train, distort, look; then open the page that it names.   make test: everything that is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# threads that wait leave their core to others: on a busy machine a training is many times faster
export OMP_WAIT_POLICY ?= passive

.PHONY: run test notebooks readme lab clean

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

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "atviz needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) results checkpoints/local data/cache
