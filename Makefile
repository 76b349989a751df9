# Everything runs in .venv, which is made on first use and again when a requirements file changes.
PYTHON ?= python3
PORT ?=
VENV := .venv
BIN := $(VENV)/bin
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help install demo lab static train evaluate test test-all lint clean

help:            ## list the commands
	@awk -F ':.*## *' '/^[a-z-]+:.*##/ {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.app: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make demo PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$$(sed -n 's/^torch==//p' requirements.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.app requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

install: $(VENV)/.app ## make .venv and install everything

demo: $(VENV)/.app ## start the Gradio demo and print its address (PORT=7860)
	$(BIN)/python demo/app.py $(if $(PORT),--port $(PORT))

lab: $(VENV)/.app ## start the Streamlit comparison and print its address (PORT=8501)
	$(BIN)/python -m streamlit run streamlit_app/app.py --server.headless true $(if $(PORT),--server.port $(PORT))

static: $(VENV)/.app ## build the page that runs in the browser into demo/static/dist (needs npm)
	$(BIN)/python demo/static/build.py

train: $(VENV)/.app ## train every model on the prepared data (ARGS="--budget minutes=60")
	$(BIN)/python scripts/train.py --model all $(ARGS)

evaluate: $(VENV)/.app ## score every trained model, redraw figures, leaderboard and README table
	$(BIN)/python scripts/evaluate.py --readme

test: $(VENV)/.dev ## the test suite (minutes, offline)
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.dev ## with the slow tests
	$(BIN)/python -m pytest -q -m "slow or not slow"

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:           ## remove .venv and caches (never data, runs or checkpoints)
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
