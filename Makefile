# The README's two commands, and what a developer types often.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install run test faults faults-long fuzz lint format clean

install:                ## virtual environment with the pinned versions
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'

run: install            ## the README's first command
	$(BIN)/python run_ablations.py --suite patch_size

test: install           ## the README's second command
	$(BIN)/python -m pytest -n 2

faults: install         ## break a study at 50 points and in every other way: half an hour
	FAULTS_POINTS=50 FAULTS_AT_ONCE=2 $(BIN)/python -m pytest -rA tests/faults

faults-long: install    ## the same at 500 points
	FAULTS_POINTS=500 FAULTS_AT_ONCE=2 $(BIN)/python -m pytest -rA tests/faults

fuzz:                   ## 10,000 inputs for every reader of outside files; about an hour on one core
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:                  ## caches only; runs, reports and mlflow.db are results
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
