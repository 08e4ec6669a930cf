# Everything a fresh machine needs: `make demo` and `make test` set up `.venv` by themselves, once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out
# The stamp carries a hash of what decides the environment: a second run installs nothing.
STAMP  := $(VENV)/.ready-$(shell cat pyproject.toml tools/setup.sh 2>/dev/null | cksum | cut -d' ' -f1)

.PHONY: help setup setup-web demo test test-pytorch3d lint bench head clean

help:            ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/ — /'

setup: $(STAMP)  ## make .venv with everything in it

$(STAMP): pyproject.toml tools/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash tools/setup.sh
	@rm -f $(VENV)/.ready-* && touch $@

demo: setup      ## track a face, and move a photograph by it; VIDEO=path for your own video
	@$(BIN)/python -m training.demo --out "$(OUT)" $(if $(VIDEO),--video "$(VIDEO)")

setup-web:       ## what the tests in a real browser need: Chromium, three.js, the glTF validator
	@bash tools/setup_web.sh

test: setup lint ## the checks and the tests
	@# In two processes: all in one is ended by the kernel at a late test (docs/architecture.md).
	@$(BIN)/python -m pytest tests/test_[a-r]*.py
	@$(BIN)/python -m pytest tests/test_[s-z]*.py

test-pytorch3d:  ## the raster and render tests with PyTorch3D, in an environment of its own (5 GB)
	@PYTHON="$(PYTHON)" bash tools/setup_pytorch3d.sh
	@.venv-pytorch3d/bin/python -m pytest tests/test_raster.py tests/test_render.py tests/test_raster_pytorch3d.py

lint: setup      ## ruff, pyright, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

bench: setup     ## accuracy and speed, printed with their goals
	@$(BIN)/python tests/benchmarks/accuracy.py
	@$(BIN)/python tests/benchmarks/speed.py

head: setup      ## build openhead again from MakeHuman's data
	@$(BIN)/python -m model.openhead.build

docs: setup      ## the documentation's site, into site/; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: setup     ## the package, into dist/
	@$(BIN)/python tools/build_wheel.py dist

check-wheel:     ## the package in an empty environment outside the checkout: track, reenact, decatrack (minutes, 2 GB)
	@PYTHON="$(PYTHON)" bash tools/check_wheel.sh

clean:
	rm -rf $(VENV) $(OUT) build dist site *.egg-info
