# Everything happens in a virtual environment of its own; PYTHON chooses the interpreter, VENV the place.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
BUNDLE = build/bundle/mvt
BUNDLE_SOURCES = models/make.py models/mvt.safetensors $(wildcard calibration/default/* mvt_deploy/*.py) \
	$(wildcard $(addsuffix /*.py,$(addprefix mvt_deploy/,network export quantize evaluation/gate)))
LOWEST_RUN = $(VENV)-lowest/bin/python -c 'from mvt_deploy.cli.main import run; run()'
LOWEST_TESTS = tests/test_hostile_bundle.py tests/test_geometry.py tests/video/test_sources.py
TEST_EXTRAS = export,openvino,eval,ray,toolkits,metrics,dev

# Tests run in as many processes as there are cores, at most four (each takes up to 3 GB); a file's tests stay together,
# so that what they share is made once. WORKERS=0 runs everything in one process.
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile

# The newest PyTorch is kept in the check of the oldest versions: older ones bring several GB of CUDA libraries.
TORCH ?= torch==2.13.0

# What mypy may not say of tests and scripts: they call untyped libraries.
LOOSE = no-untyped-call

.PHONY: demo test test-fast test-lowest test-aarch64 coverage mutation lint format bundle wheel docs sbom audit clean

demo: $(VENV)/.export  ## export the default checkpoint, render a clip, track it, print the AO
	$(BIN)/mvt-deploy export --fp16
	$(BIN)/mvt-deploy demo

test: $(VENV)/.test  ## every test
	$(PYTEST)

test-fast: $(VENV)/.test  ## the tests that take no more than a few seconds each
	$(PYTEST) -m "not slow"

test-lowest: $(VENV)-lowest/.lowest  ## the oldest versions pyproject.toml allows, end to end: export, track, hostile files
	rm -rf $(VENV)-lowest/try
	$(LOWEST_RUN) export -o $(VENV)-lowest/try/mvt
	$(LOWEST_RUN) demo --model $(VENV)-lowest/try/mvt -o $(VENV)-lowest/try
	$(VENV)-lowest/bin/python -m pytest -q -m "not slow" $(LOWEST_TESTS)

coverage: $(VENV)/.quality  ## every test, and the share of the package's lines that they ran; fails below 90 %
	$(BIN)/python -m pytest --cov=mvt_deploy --cov-report=term:skip-covered --cov-report=json:.coverage.json

mutation: $(VENV)/.quality  ## break single lines of what [tool.mutmut] names, and count the tests that notice (an hour)
	$(BIN)/mutmut run
	$(BIN)/mutmut results

bundle: $(BUNDLE)/manifest.json  ## the bundle that the wheel carries, exported from the default checkpoint and judged

$(BUNDLE)/manifest.json: $(BUNDLE_SOURCES) | $(VENV)/.export
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python models/make.py $(BUNDLE)

test-aarch64: $(VENV)/.test  ## the wheel and its base dependencies on emulated ARM; as root, see docs/arm.md
	$(BIN)/mvt-deploy export --int8 -o build/aarch64/bundle
	$(BIN)/python tests/aarch64/run.py --model build/aarch64/bundle

wheel: $(VENV)/.release $(BUNDLE)/manifest.json  ## the wheel with its bundle, built twice and compared byte for byte
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build --wheel --outdir dist/a .
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build --wheel --outdir dist/b .
	cmp dist/a/*.whl dist/b/*.whl
	mv dist/a/*.whl dist/
	rm -r dist/a dist/b
	sha256sum dist/*.whl

docs: $(VENV)/.docs  ## the documentation site in build/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

sbom: $(VENV)/.release  ## dist/sbom.json: what an edge device gets with the wheel, in CycloneDX
	$(PYTHON) -m venv --clear $(VENV)-edge
	$(VENV)-edge/bin/python -m pip install --quiet -c constraints.txt .
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o dist/sbom.json $(VENV)-edge/bin/python

audit: $(VENV)/.release  ## known vulnerabilities of the tested versions; needs the network
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

lint: $(VENV)/.test  ## style, types and import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy $(LOOSE:%=--disable-error-code %) --no-warn-unused-ignores tests benchmarks
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test  ## bring the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-edge build dist demo mutants models/mvt .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.export: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[export]'
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TEST_EXTRAS)]'
	touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)/.quality: $(VENV)/.test
	$(BIN)/python -m pip install --quiet -c constraints.txt pytest-cov mutmut
	touch $@

$(VENV)/.release: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet build cyclonedx-bom pip-audit
	touch $@

$(VENV)-lowest/.lowest: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv '$(TORCH)'
	$(VENV)-lowest/bin/python -m pip freeze | grep '^torch==' > $(VENV)-lowest/torch.txt
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct \
		-c $(VENV)-lowest/torch.txt -r pyproject.toml --extra export 'pytest>=8' 'hypothesis>=6.100'
	touch $@
