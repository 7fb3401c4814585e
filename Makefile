# make            set up, rebuild a profile, print its table
# make ablation   also compare schedules of pruning, over the range of sparsity
# make companions other papers' methods, on their experiments and on the denoiser; PAPER=activity for one, SEEDS=1
# make ui         look at the runs in MLflow, on this machine alone
# make docs       build the documentation into build/site
# make test       set up, run the fast tests;  make test-all adds the slow ones
# make test-docs  type what the pages with many builds show, the tutorial first: an hour
# make lint       check code, formatting and workflow
# make lock       resolve the dependencies of pyproject.toml again
# make bench      speed: inference against stock Lava, training against stock lava-dl, loading, DNSMOS against speechmos

PROFILE ?=
MIRROR  ?=
SET     ?=
CORES   ?= $(shell nproc)
# of make companions: activity, masks, lyapunov, vgg or denoiser; all if not given
PAPER   ?=
SEEDS   ?=
# a folder of workflow/profiles
EXECUTOR ?= default

# the first of these that runs and is 3.11 or 3.12
SUPPORTED := import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
PYTHON  ?= $(firstword $(foreach p,python3 python3.12 python3.11,\
    $(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))

BIN := $(CURDIR)/.venv/bin
UV  := .uv/bin/uv
READY := .venv/.ready

.DEFAULT_GOAL := rebuild
.PHONY: rebuild ablation companions ui docs setup test test-all test-docs lint format lock bench

setup: $(READY)

$(UV): requirements-uv.lock
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or 3.12 with venv; name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-uv.lock
	touch $(UV)

# every step of a build is a process, and some machines do not let Python keep what it compiled
$(READY): requirements.lock pyproject.toml $(UV)
	$(UV) venv --quiet --clear --no-python-downloads --python $(PYTHON) .venv
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $(READY)

lock: $(UV)
	$(UV) pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --group dev --group docs --group build --output-file requirements.lock pyproject.toml
	echo uv | $(UV) pip compile --quiet --upgrade --generate-hashes --no-emit-index-url \
	    --output-file requirements-uv.lock -
export PATH := $(BIN):$(PATH)

# what the command line changed; every command of spandex reads it
export SPANDEX_SET := $(strip $(if $(PROFILE),profile=$(PROFILE)) $(if $(MIRROR),mirror=$(MIRROR)) $(if $(SEEDS),companions.seeds=$(SEEDS)) $(SET))

# what a failing build has finished is recorded, too
rebuild: setup
	@spandex rebuild --cores $(CORES) --executor $(EXECUTOR); status=$$?; spandex record && [ $$status -eq 0 ] && spandex summary

ablation: setup
	@spandex rebuild ablation --cores $(CORES) --executor $(EXECUTOR); status=$$?; spandex record && [ $$status -eq 0 ] && spandex summary ablation

# the report once more at the end, which then includes them
companions: setup
	@spandex rebuild $(or $(PAPER),companions) --cores $(CORES) --executor $(EXECUTOR) && spandex rebuild --cores $(CORES) --executor $(EXECUTOR); \
	    status=$$?; spandex record && [ $$status -eq 0 ] && spandex summary companions

ui: setup
	@spandex ui

docs: setup
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

# a file's tests share what they built
PYTEST := pytest -n 2 --dist loadfile

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST) -m "not long"

test-docs: setup
	$(PYTEST) -m long

lint: setup
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint

format: setup
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

bench: setup
	spandex bench inference
	spandex bench training
	spandex bench loader
	spandex bench dnsmos
	spandex bench synthesis

