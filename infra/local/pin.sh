#!/bin/sh
# Pins the whole closure of the .in files, with hashes, for every Python from 3.10 on. Needs `uv`.
set -eu
cd "$(dirname "$0")"
pin() {
    uv pip compile "$@" --quiet --generate-hashes --only-binary :all: --python-version 3.10 --universal \
        --no-header --no-emit-index-url
}
# SAM needs cfn-lint, and what it brings, only for `sam validate --lint`: 140 MB that the stage does without.
pin requirements-stage.in --output-file requirements-stage.txt \
    --no-emit-package cfn-lint --no-emit-package sympy --no-emit-package mpmath --no-emit-package networkx
pin requirements-check.in --output-file requirements-check.txt
pin requirements-delivery.in --output-file requirements-delivery.txt
