# make demo | make test | make bench: each installs what it needs first (deploy/install.sh), then builds.
SHELL := /bin/bash
.PHONY: help install build demo digits-cascade test soak fuzz bench format clean
.DEFAULT_GOAL := help
EXAMPLE ?= digits
$(if $(wildcard examples/$(EXAMPLE)/mesh.yaml),,$(error EXAMPLE: got '$(EXAMPLE)', want one of: $(patsubst examples/%/mesh.yaml,%,$(wildcard examples/*/mesh.yaml))))

help:
	@echo "make build                     install what is needed, build build/portico"
	@echo "make demo [EXAMPLE=…] [ONCE=1] digits: two models split over three nodes; spam: a cascade; breeds: experts; dlrm: tables in shards"
	@echo "make digits-cascade            tune and judge the digits cascade, write its tables and plots into docs/"
	@echo "make test                      all tests, sanitizers, layering; ends with how many passed and failed"
	@echo "make soak [MINUTES=10]         version flips under full load for so long, 10⁷ calls between nodes and 10⁷ of changing tables (CALLS=…): none fails, memory flat"
	@echo "make fuzz [TIME=s] [NAME=…]    fuzzers, 60 s each or as said, e.g. make fuzz TIME=3600 NAME=predict_json"
	@echo "make bench [NAME=…] [JSON=f]   scenarios beside their baselines, e.g. make bench NAME=portal.zmq"
	@echo "make format                    clang-format over the sources"

install:
	@deploy/install.sh

build: install
	@tests/tools/configure.sh release
	@cmake --build build --target portico portico_$(EXAMPLE)_demo

# What is too large to be checked in is made first.
demo: build
	@$(if $(wildcard examples/$(EXAMPLE)/prepare.sh),examples/$(EXAMPLE)/prepare.sh build/$(EXAMPLE))
	@build/portico_$(EXAMPLE)_demo --folder examples/$(EXAMPLE) --portico build/portico $(if $(ONCE),--once)

digits-cascade: build
	@examples/digits/cascade/measure.sh build/portico

test:
	@deploy/install.sh --tests
	@tests/tools/run_all.sh

soak: install
	@tests/tools/configure.sh release
	@cmake --build build --target integration_test
	@PORTICO_SOAK_MINUTES=$(or $(MINUTES),10) PORTICO_SOAK_CALLS=$(or $(CALLS),10000000) \
	  PORTICO_SOAK_TABLE_REQUESTS=$(or $(CALLS),10000000) \
  build/tests/integration_test --gtest_filter='VersionSoak.*:*PeerSoak.*:*TableVersionsSoak.*'

fuzz: install
	@tests/tools/configure.sh fuzz
	@cmake --build build/fuzz
	@tests/fuzz/run.sh --time $(or $(TIME),60) $(NAME)

bench: install
	@tests/tools/configure.sh release
	@cmake --build build --target portico portico_bench
	@build/portico_bench $(NAME) $(if $(JSON),--json $(JSON))

format:
	@git ls-files '*.h' '*.cc' | xargs clang-format-14 -i

clean:
	@rm -rf build
