# make setup | demo | test | test-chaos | test-wheel | wheel | docs | bench | lint      (Linux, Python 3.11; everything goes into .venv)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where a folder of wheels holds torch's CPU build, use it; elsewhere uv knows PyTorch's CPU index by itself.
TORCH := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend cpu)
UV = $(shell command -v uv >/dev/null 2>&1 && echo uv || echo $(VENV)/tools/bin/python -m uv)

.PHONY: setup demo test test-chaos test-wheel wheel docs bench lint clean manifests

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else "spti-ray needs Python 3.11 or 3.12, this is %d.%d: set PYTHON=python3.11" % v)'
	@command -v uv >/dev/null 2>&1 || { $(PYTHON) -m venv $(VENV)/tools && $(VENV)/tools/bin/pip install --quiet uv; }
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode $(TORCH) -c constraints.txt -e '.[cpu,s3,dev]'
	@touch $@

demo: setup
	$(BIN)/spti run jobs/stickers.yaml --out runs/stickers

test: setup
	$(BIN)/python -m pytest tests

# Kills processes and whole Ray nodes of runs at random; some minutes.
SEEDS ?= 0 1 2 3 4
test-chaos: setup
	SPTI_CHAOS_SEEDS="$(SEEDS)" $(BIN)/python -m pytest tests/e2e/test_chaos.py

# The wheel and the source archive, and what a user needs beside them to install the wheel.
wheel: setup
	rm -rf dist
	$(UV) build --quiet --out-dir dist
	cp spti_ray/package_data/overrides.txt dist/
	$(UV) pip compile --quiet --no-header --no-annotate --python $(BIN)/python $(TORCH) -c constraints.txt \
		--extra cpu --extra s3 --extra eval pyproject.toml --output-file dist/requirements-cpu.txt

# Installs the wheel in clean environments, by pip and by uv, and runs the demo from it; ten minutes.
test-wheel: wheel
	UV="$(UV)" $(BIN)/python -m pytest -s tests/packaging/install_wheel.py

# The documentation as a site, in site/; a link that leads nowhere fails it.
docs: setup
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
