# Every target makes what it needs: a virtual environment in .venv with pinned versions (constraints.txt).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SPACE_VENV ?= .venvs/space
SPACE_PIP = $(SPACE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(SPACE_VENV)/constraints.txt
SOURCES = $(shell find rebase_hf model_cards -name '*.py' -o -name '*.jinja' -o -name 'py.typed') pyproject.toml
BANK = $(sort $(wildcard examples/bank/*))
# What the demo keeps between runs stays in runs/, so that removing it leaves nothing behind.
DEMO_ENV = REBASE_HOME=runs/home HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false

.PHONY: demo bench-demo bench-teacher bench-index bench-quality bench-scale bench-methods bench-retrieval bench-students
.PHONY: bench-clients bench-end-to-end bench-smoke figures
.PHONY: test test-slow test-versions test-ray test-space space check lint types format clean

demo: runs/demo-index/manifest.json
	$(DEMO_ENV) $(BIN)/rebase-hf run examples/support-triage --index runs/demo-index --teacher few-shot \
		--num-examples 200 --max-per-source 80 --seeds 3 --max-pairs 600 --output runs/demo

bench-demo: runs/demo-index/manifest.json
	$(DEMO_ENV) $(BIN)/rebase-hf run examples/support-triage --index runs/demo-index --teacher few-shot \
		--num-examples 200 --max-per-source 80 --seeds 5 --max-pairs 600 --output runs/bench-demo

# One process after another, since each measures; about 20 minutes.
BENCH_TEACHER = cpu throughput defaults kill changed_rows rate_limits memory leaks
bench-teacher: $(VENV)/package
	@missed=0; for name in $(BENCH_TEACHER); do \
		OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.teacher_$$name || missed=1; done; \
	$(BIN)/python -m benchmarks.teacher_figures && exit $$missed

# Installs five other clients, each in an environment of its own below the user's cache folder (or REBASE_CLIENTS), about
# 5 GB and 5 minutes the first time; then about 12 minutes on 2 cores, with nothing else running.
bench-clients: $(VENV)/package
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.clients && $(BIN)/python -m benchmarks.clients_figures

# About 2 minutes. REBASE_KIT names a folder of real datasets: what the checks refuse of people's texts is then counted,
# and what they remove of recorded answers, of which samples were read; about 10 minutes more, 3 where vectors are kept.
BENCH_QUALITY = duplicates checks insight $(if $(REBASE_KIT),removed precision)
bench-quality: $(VENV)/package
	@missed=0; for name in $(BENCH_QUALITY); do \
		OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality_$$name || missed=1; done; \
	$(BIN)/python -m benchmarks.quality_figures && exit $$missed

# About 12 minutes on 2 cores, with 8 GB of disk under TMPDIR.
bench-scale: $(VENV)/package
	$(BIN)/python -m benchmarks.scale_stages && $(BIN)/python -m benchmarks.scale_figures

# REBASE_KIT names a folder of real datasets; without it texts and vectors are made. bm25s, hnswlib and faiss, which ours
# is compared with, are needed by nothing else.
BENCH_INDEX = vectors peers lexical rows encoding build
bench-index: $(VENV)/package
	$(PIP) bm25s hnswlib faiss-cpu
	@missed=0; for name in $(BENCH_INDEX); do $(BIN)/python -m benchmarks.index_$$name || missed=1; done; \
	$(BIN)/python -m benchmarks.index_figures && exit $$missed

# REBASE_KIT names a folder of real datasets and recorded answers of teachers, without which nothing is measured here.
# Vectors and the bank's index are kept under TMPDIR; without them about 10 minutes on 2 cores.
BENCH_METHODS = synthesizrr fewgen retrieved kard
bench-methods: $(VENV)/package
	@missed=0; for name in $(BENCH_METHODS); do $(BIN)/python -m benchmarks.methods_$$name || missed=1; done; \
	$(BIN)/python -m benchmarks.methods_figures && exit $$missed

# As above; about 25 minutes of CPU where nothing is kept, nearly all of them for encoding, else 3.
bench-retrieval: $(VENV)/package
	@missed=0; OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.retrieval || missed=1; \
	$(BIN)/python -m benchmarks.retrieval_figures && exit $$missed

# As above; over an hour of CPU, nearly all of it for training students.
bench-end-to-end: $(VENV)/package
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.end_to_end

# Every benchmark on a small size: ratios, held to stored bounds. What ours is compared with is installed beside it.
bench-smoke: $(VENV)/package
	-$(PIP) bm25s hnswlib faiss-cpu
	$(BIN)/python -m benchmarks.smoke

# benchmarks/README.md and the README's table, from benchmarks/results.
figures: $(VENV)/package
	$(BIN)/python -m benchmarks.evidence

# As above; of the few-shot teacher the answers are kept too. Without anything kept about 25 minutes of CPU, most of them
# for encoding texts and for training teachers.
BENCH_STUDENTS = overhead checks development few_shot active
bench-students: $(VENV)/package
	@missed=0; for name in $(BENCH_STUDENTS); do \
		OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.students_$$name || missed=1; done; \
	$(BIN)/python -m benchmarks.students_figures && exit $$missed

runs/demo-index/manifest.json: $(VENV)/package $(shell find examples/bank -type f)
	$(DEMO_ENV) $(BIN)/rebase-hf index build runs/demo-index $(foreach folder,$(BANK),--source $(folder))
	@touch $@

# About 7 minutes on 2 cores; the slow ones (students trained, processes killed, whole commands) take as long again.
test: $(VENV)/package
	$(BIN)/python -m pytest -m "not versions and not slow and not ray and not space"

test-slow: $(VENV)/package
	$(BIN)/python -m pytest -m "slow and not versions and not ray and not space"

test-versions: $(VENV)/package
	$(BIN)/python -m pytest -m versions

test-ray: $(VENV)/package
	$(PIP) ray
	$(BIN)/python -m pytest -m ray

# The Space's page, in the headless Chromium that CHROMIUM names.
test-space: $(SPACE_VENV)/package
	$(SPACE_VENV)/bin/python -m pytest -m space tests/hub_scripts/test_space.py

space: $(SPACE_VENV)/package
	$(DEMO_ENV) $(SPACE_VENV)/bin/python hub_scripts/space/app.py

check: lint types test test-slow

lint: $(VENV)/package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/package
	$(BIN)/mypy

format: $(VENV)/package
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch comes first and pinned: left to the others' requirements, pip may take a newest build of several gigabytes.
$(VENV)/dependencies: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) torch
	$(PIP) --group dev '.[all,offline]'
	@touch $@

$(VENV)/package: $(VENV)/dependencies $(SOURCES)
	$(PIP) --no-deps --force-reinstall .
	@touch $@

# Gradio needs an older tomlkit than the other tools do: an environment of its own, with all other pins.
$(SPACE_VENV)/dependencies: constraints.txt pyproject.toml hub_scripts/space/requirements.txt
	$(PYTHON) -m venv $(SPACE_VENV)
	grep -v '^tomlkit==' constraints.txt > $(SPACE_VENV)/constraints.txt
	$(SPACE_PIP) --upgrade pip
	$(SPACE_PIP) torch
	$(SPACE_PIP) --group test '.[setfit,encoders,offline]' playwright $$(grep '^gradio==' hub_scripts/space/requirements.txt)
	@touch $@

$(SPACE_VENV)/package: $(SPACE_VENV)/dependencies $(SOURCES)
	$(SPACE_PIP) --no-deps --force-reinstall .
	@touch $@

clean:
	rm -rf $(VENV) $(SPACE_VENV) runs dist
