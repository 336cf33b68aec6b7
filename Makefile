# `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.

# Debian's own Python where it is new enough: what a fresh machine has after `make`.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
BIN := .venv/bin
PYTEST := $(BIN)/pytest

# What running, building and testing take, by Debian package.
RUN_PACKAGES := python3 python3-venv qemu-system-x86 qemu-utils mmdebstrap uidmap
IMAGE_PACKAGES := gcc libc6-dev linux-libc-dev make musl-tools erofs-utils lz4
KERNEL_PACKAGES := bc binutils bison flex libelf-dev libssl-dev patch perl xz-utils
TEST_PACKAGES := busybox-static e2fsprogs fish gcc-mingw-w64-x86-64-win32 git \
  libarchive-tools util-linux wine wine64 zsh

BENCH_PACKAGES := debvm openssh-client

NATIVE_TESTS := tests/unit/native
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-vm test-wine wine-lock wheel check format image kernel native bench clean \
  run-packages test-packages

help:
	@echo 'make demo       install everything missing, then run a command in a fresh Debian'
	@echo 'make test       all tests, on the real virtual machine too'
	@echo 'make test-unit  the tests that need no virtual machine (seconds)'
	@echo 'make test-wine  a release installed and run: on Linux, and under Wine as Windows programs'
	@echo 'make wheel      the wheels of a release, in dist/'
	@echo 'make check      ruff, formatting, types, layers'
	@echo 'make format     let ruff rewrite what it can'
	@echo 'make kernel     build the tuned kernel (about 8 minutes), used automatically afterwards'
	@echo 'make image      prepare kernel and system image, as the first start does by itself'
	@echo 'make bench      measure, and print the tables of docs/performance.md'
	@echo 'make clean      remove what was built here (not the user cache or distributions)'

# Stamps: these steps are done once per checkout, and again when what they depend on changes.
.venv/stamp: pyproject.toml | run-packages
	@echo 'Preparing the Python environment in .venv'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run-packages:
	@tools/install-packages $(RUN_PACKAGES) $(IMAGE_PACKAGES)

test-packages:
	@tools/install-packages $(TEST_PACKAGES)

native: | run-packages
	@$(MAKE) --no-print-directory -s -C guest/native

image: .venv/stamp native
	@$(BIN)/python -m vm.image prepare

kernel: .venv/stamp native
	@tools/install-packages $(KERNEL_PACKAGES)
	@$(BIN)/python -m vm.image kernel

demo: image
	@$(BIN)/isthmus --list --quiet | grep -q . || $(BIN)/isthmus --install --no-launch
	$(BIN)/isthmus -- sh -c 'uname -a; cat /etc/os-release'

test: test-packages test-unit test-vm test-wine

# distro-init's tests make namespaces and device nodes, on this host: only root may.
test-unit: .venv/stamp native
	$(PYTEST) -n auto --ignore=$(NATIVE_TESTS)
	$(AS_ROOT) $(PYTEST) -p no:cacheprovider $(NATIVE_TESTS)

test-vm: .venv/stamp native test-packages
	$(PYTEST) -m 'vm or network'

test-wine: .venv/stamp native test-packages
	$(PYTEST) -m wine tests/wine

wine-lock: .venv/stamp
	$(BIN)/python tests/wine/lock.py

wheel: .venv/stamp native
	tools/build-wheels dist

check: .venv/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 interop netbridge service shell vm wire tests/windows
	$(BIN)/mypy --platform darwin interop netbridge service shell vm wire
	$(PYTEST) -q tests/unit/test_layers.py

format: .venv/stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/stamp native test-packages
	@tools/install-packages $(BENCH_PACKAGES)
	$(BIN)/python -m bench

clean:
	rm -rf .venv build dist *.egg-info guest/native/build
