# What a user or a developer runs. Each target installs what is missing first.

.PHONY: help demo test conformance bench onednn build format lint clean

help:
	@echo "make demo         build, and do the main job on what the repository ships (output in demo-output/)"
	@echo "make test         build, run the Swift tests, then the tests against onnxruntime, Keras and PyTorch"
	@echo "make conformance  run ONNX's own backend cases, with a table by operator"
	@echo "make bench        measure beside onnxruntime, PyTorch and the onnx packages of Python"
	@echo "make onednn       compare what oneDNN computes, installed and 3.x, with plain loops"
	@echo "make build        build the release binaries into .build/release"
	@echo "make format       format the Swift sources"
	@echo "make lint         check their format"
	@echo "make clean        remove what was built"

build:
	@scripts/setup
	swift build -c release --product graft
	swift build -c release --product graft-hdf5-reader

demo: build
	@scripts/demo

test:
	@scripts/test

conformance:
	@scripts/conformance

bench:
	@scripts/bench

onednn:
	@scripts/onednn --peer

format:
	swift format format --in-place --recursive --parallel Package.swift Sources Tests

lint:
	swift format lint --strict --recursive --parallel Package.swift Sources Tests

clean:
	rm -rf .build demo-output bench-output
