# Every target makes what it needs, .venv included. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
TOY := build/toy
WEIGHTS ?= outputs/v50/weights.safetensors
BENCHMARKS ?= benchmarks/ssm.py benchmarks/calibration.py benchmarks/calibration_scaling.py
ROOT ?= outputs
HOST ?= 127.0.0.1
.DEFAULT_GOAL := help
.PHONY: help setup toy test deep wheels weights kernel push lint bench cluster-demo docs gui serve ablation clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: .venv/.stamp ## .venv with what the other targets need

.venv/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[kernel,dask,diagnostics,docs,export,gui,dev]' && touch $@

toy: setup $(TOY)/simulated kernel ## simulate, train, run the submission notebook, score: build/toy/
	$(BIN)/spectramind train --config configs/toy.yaml > $(TOY)/train.json
	$(BIN)/python build_kernel.py --run submission --executed $(TOY)/submission.ipynb -p data=$(TOY)/data -p truth=$(TOY)/data/test.csv -p weights=$(TOY)/model/weights.safetensors -p out=$(TOY)/submission.csv -p report=$(TOY)/report.html -p scratch=$(TOY) -p workers=2
	$(BIN)/spectramind score --truth $(TOY)/data/test.csv --train-labels $(TOY)/data/train.csv --submission $(TOY)/submission.csv

$(TOY)/simulated: Makefile | setup
	$(BIN)/spectramind simulate --out $(TOY)/data --planets 32 --test-planets 8 --seed 1 && touch $@

test: setup ## the tests, a file at a time on each of up to four cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

deep: setup wheels ## the slow tests, the GPU's kernels in an interpreter among them, and all commands on a tiny set
	$(BIN)/python -c 'import triton' 2> /dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps triton==3.7.1
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps build/wheels/mamba_ssm-*.whl
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser,dvc,mlflow]'
	$(BIN)/python -m pytest -m slow --numprocesses auto --maxprocesses 2 --dist loadfile && $(BIN)/spectramind test --deep

wheels: setup ## what the offline kernel installs, as a Kaggle data set: build/wheels/
	$(BIN)/python build_datasets.py wheels

weights: setup ## a trained checkpoint as a Kaggle data set: build/weights/ (WEIGHTS=FILE)
	$(BIN)/python build_datasets.py weights --from $(WEIGHTS)

kernel: setup ## the Kaggle notebooks and the card for `kaggle kernels push`: build/kernel/
	$(BIN)/python build_kernel.py

push: setup ## push the kernel that `make kernel` built to Kaggle, if it is still what its manifest says
	$(BIN)/spectramind verify build/kernel/manifest.json && $(BIN)/kaggle kernels push -p .

lint: setup ## ruff, and mypy on the public API
	$(BIN)/ruff check . && $(BIN)/mypy

bench: setup ## benchmarks of speed: build/bench/ (BENCHMARKS=FILES)
	for script in $(BENCHMARKS); do $(BIN)/python $$script || exit 1; done

cluster-demo: setup $(TOY)/simulated ## the toy set on a Dask scheduler and two workers, one of which is killed: build/cluster/
	$(BIN)/python benchmarks/cluster_demo.py --data $(TOY)/data --out build/cluster

docs: setup ## the documentation with figures drawn anew: build/site/
	$(BIN)/python docs/figures.py && $(BIN)/mkdocs build

gui: setup ## build the web page's front end into the package (needs Node 20): ariel_lib/server/static/
	$(BIN)/python gui/write_openapi.py
	cd gui && npm ci --no-audit --no-fund && npm run types && npm run build

serve: setup ## the web page over ROOT (outputs) at http://127.0.0.1:8000
	$(BIN)/spectramind serve --root $(ROOT) --host $(HOST)

ablation: setup $(TOY)/simulated ## a small grid on the toy set: outputs/ablation/leaderboard.html
	$(BIN)/spectramind ablate --config configs/ablation.yaml

clean: ## remove what was built, but not .venv and outputs/, where trained weights are
	rm -rf build .pytest_cache .ruff_cache .mypy_cache .hypothesis
