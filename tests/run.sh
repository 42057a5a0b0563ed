#!/usr/bin/env bash
# Sets the machine up, builds the dev preset and runs every test in one ctest call. Arguments go to ctest: tests/run.sh -R conv2d
source "$(dirname "$0")/../cmake/setup.sh"

build dev
say "testing"
ctest --preset dev -j "$(nproc)" "$@"
