# `make tune` runs the main job, `make test` the tests; both make the environment if need be.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: help install tune test test-slow lint bench clean

help:
	@echo "make tune   simulate, prepare, search, and print the seq-vs-noseq table"
	@echo "make test   run the tests"
	@echo "make test-slow  start clusters, kill parts of them, run out of disk (half an hour)"
	@echo "make lint   ruff and mypy"
	@echo "make bench  what DNA encoders, stored tokens and the encoder's pass cost here"
	@echo "make clean  remove the environment and the results of make tune"

# Bytecode is made now: where Python may not write it, each of Ray's many processes would.
$(READY): requirements.lock pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(RUN) -m uv pip install --quiet --compile-bytecode --python $(RUN) --requirement requirements.lock
	$(RUN) -m uv pip install --quiet --python $(RUN) --no-deps --editable .
	rm -f $(VENV)/ready-*
	touch $@

# The environment alone, as cluster.yaml has it made on every machine.
install: $(READY)

tune: $(READY)
	$(RUN) experiments/tune_encoder.py $(ARGS)

# Two pytest at once: one leaves a core idle. (5: ARGS left one of them without a test.)
beside = log=$$(mktemp); $(RUN) -m pytest -q $(1) $(ARGS) > $$log 2>&1 & first=$$!; \
	$(RUN) -m pytest -q $(2) $(ARGS); second=$$?; wait $$first; first=$$?; cat $$log; rm $$log; \
	case $$first$$second in 00|05|50) ;; *) exit 1;; esac

test: $(READY)
	$(call beside,-m "not ray and not slow",-m "ray and not slow")

# sshd and rsync stand for a cloud's hosts; where they cannot be installed, those tests say so.
HALF := tests/cluster $(addprefix tests/faults/,test_nodes.py test_autoscaler.py test_mlflow_away.py)
test-slow: $(READY)
	.ci/install-hosts || true
	$(call beside,-m slow $(HALF),-m slow $(addprefix --ignore=,$(HALF)))

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(READY)
	$(RUN) experiments/speed.py dna
	$(RUN) experiments/speed.py noseq
	$(RUN) experiments/speed.py epochs
	$(RUN) experiments/speed.py encoder

clean:
	rm -rf $(VENV) runs/simulated
