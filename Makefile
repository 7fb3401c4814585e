# make            set up, rebuild a profile, print its table
# make ablation   also compare schedules of pruning, over the range of sparsity
# make frontier   networks of several methods at several power budgets, on profile mini if none is given; SEEDS=3
# make companions other papers' methods, on their experiments and on the denoiser; PAPER=activity for one, SEEDS=1
# make ui         look at the runs in MLflow, on this machine alone
# make docs       build the documentation into build/site
# make frontier-docs  keep what the finished frontier of PROFILE (mini if not given) came to, and show it in docs
# make readme     write what the finished build of PROFILE came to into README and docs
# make package    put NETWORK of the finished build of PROFILE (mini if not given) into the package, with its card
# make gpu        pack build/gpu, to be copied to a machine with a GPU, where python run.py checks and measures the kernels
# make test       set up, run the fast tests;  make test-all adds the slow ones
# make test-pythons  unit and conformance tests on each of PYTHONS, and a toy build that must be the same on all
# make test-docs  type what the pages with many builds show, the tutorial first: an hour
# make fuzz       2,000 hostile inputs at the command line, in half an hour; CASES=100 SEED=7
# make lint       check code, formatting and workflow
# make lock       resolve the dependencies of pyproject.toml again
# make bench      speed: inference and training against stock, loading, DNSMOS against speechmos, synthesis

# make's own command line sets these; what an environment happens to export does not count
PROFILE  :=
MIRROR   :=
SET      :=
WORKERS  := $(shell getconf _NPROCESSORS_ONLN)
# of make companions: activity, masks, lyapunov, vgg or denoiser; all if not given
PAPER    :=
# of make companions and make frontier
SEEDS    :=
# of make package
NETWORK  :=
# a folder of workflow/profiles
EXECUTOR := default

# what to set up with; tools/choose-python finds one where none is named
PYTHON   :=
export PYTHON
# of make test-pythons, and which tests there: MARKED="not long" adds the slow ones
PYTHONS  := 3.11 3.12 3.13 3.14
MARKED   := not slow
export MARKED
# of make fuzz; another seed every time if not given
CASES    := 2000
SEED     :=

OWN   := PROFILE MIRROR SET WORKERS PAPER SEEDS NETWORK EXECUTOR PYTHON PYTHONS MARKED CASES SEED
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
$(if $(filter SPANDEX_SET,$(TYPED)),$(error SPANDEX_SET: for make that is SET=))
$(if $(filter SPANDEX_MIRROR,$(TYPED)),$(error SPANDEX_MIRROR: for make that is MIRROR=))
$(if $(filter CORES,$(TYPED)),$(error CORES: for make that is WORKERS=))
$(if $(filter embedded,$(PROFILE)),$(error PROFILE=embedded: that profile is PROFILE=synthetic))
$(if $(and $(filter frontier,$(MAKECMDGOALS)),$(filter synthetic,$(PROFILE))),$(error PROFILE=synthetic: the frontier is of real audio, PROFILE=mini or dns4))
$(foreach name,$(filter-out $(OWN) SHELL MAKEFLAGS,$(TYPED)),$(error $(name): make knows $(OWN)))
COMMAND := $(shell ps -o args= -p $$PPID 2>/dev/null)
$(foreach name,$(OWN),$(if $(word 2,$(filter $(name)=%,$(COMMAND))),$(error $(name) is set twice)))

# a checkout's path may hold anything, so files are named from here; make of macOS seeks no command on a PATH set here
BIN := .venv/bin
UV  := .uv/bin/uv
READY := .venv/.ready
export OUTER_PATH := $(PATH)

# the environment is made anew for another PYTHON than its own
quoted = '$(subst ','\'',$(1))'
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
OTHER := $(if $(PYTHON),$(if $(filter $(call version,$(BIN)/python),$(call version,$(call quoted,$(PYTHON)))),,other-python))

# below that, since newer makes give the PATH set here to $(shell)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := rebuild
.PHONY: rebuild ablation frontier companions ui docs frontier-docs readme package gpu setup test test-all test-docs test-pythons fuzz lint format lock bench other-python

setup: $(READY)

$(UV): requirements-uv.lock
	python=$$(PATH=$$OUTER_PATH tools/choose-python) && "$$python" -m venv --clear .uv
	.uv/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-uv.lock
	touch $(UV)

$(READY): requirements.lock pyproject.toml tools/environment $(UV) $(OTHER)
	python=$$(PATH=$$OUTER_PATH tools/choose-python) && tools/environment .venv "$$python"

lock: $(UV)
	$(UV) pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --group dev --group docs --group build --output-file requirements.lock pyproject.toml
	echo uv | $(UV) pip compile --quiet --upgrade --generate-hashes --no-emit-index-url \
	    --output-file requirements-uv.lock -

# what the command line changed; every command of spandex reads it
changed = $(strip $(if $(1),profile=$(1)) $(2))$(if $(SET), $(SET))
export SPANDEX_SET := $(call changed,$(PROFILE),$(if $(SEEDS),companions.seeds=$(SEEDS) reports.denoiser.seeds=$(SEEDS)))
frontier: SPANDEX_SET := $(call changed,$(or $(PROFILE),mini),reports.frontier.seeds=$(or $(SEEDS),1))
export SPANDEX_MIRROR := $(or $(MIRROR),$(SPANDEX_MIRROR))

# after a build: what it has finished is recorded even if it failed, its table printed even if nothing can be recorded
finish = built=$$?; $(BIN)/spandex record; recorded=$$?; \
    [ $$built -eq 0 ] && $(BIN)/spandex summary $(1) && [ $$recorded -eq 0 ]

HERE := --workers $(WORKERS) --executor $(EXECUTOR)

# a build takes its mirror from make's own command line alone; tests and benchmarks take the environment's, too
rebuild ablation frontier companions: SPANDEX_MIRROR := $(MIRROR)

rebuild: setup
	@$(BIN)/spandex rebuild $(HERE); $(call finish)

# what is made on request, and then the table's report, which includes it
ablation: setup
	@$(BIN)/spandex rebuild schedules knee $(HERE) && $(BIN)/spandex rebuild $(HERE); $(call finish,schedules knee)

# alone: the table's report does not show it
frontier: setup
	@$(BIN)/spandex rebuild frontier $(HERE); $(call finish,frontier)

companions: setup
	@$(BIN)/spandex rebuild $(or $(PAPER),companions) $(HERE) && $(BIN)/spandex rebuild $(HERE); $(call finish,companions)

ui: setup
	@$(BIN)/spandex ui

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

readme: setup
	$(BIN)/python tools/readme.py $(or $(PROFILE),synthetic)

frontier-docs: setup
	$(BIN)/python tools/frontier.py $(or $(PROFILE),mini)

package: setup
	$(BIN)/python tools/package.py $(or $(PROFILE),mini) $(or $(NETWORK),$(error NETWORK: names one of the build))

gpu: setup
	@$(BIN)/python tools/gpu.py

# a file's tests share what they built
# files in their order: by number of tests, a long file with a single one would begin last and run alone
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST) -m "not long"

test-docs: setup
	$(PYTEST) -m long

test-pythons: $(UV)
	@PATH=$$OUTER_PATH tools/test-pythons $(PYTHONS)

fuzz: setup
	@$(BIN)/python tests/fuzz.py --cases $(CASES) $(if $(SEED),--seed $(SEED))

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow

bench: setup
	$(BIN)/spandex bench inference
	$(BIN)/spandex bench training
	$(BIN)/spandex bench loader
	$(BIN)/spandex bench dnsmos
	$(BIN)/spandex bench synthesis

