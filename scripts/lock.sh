#!/bin/sh
# lock.sh BIN: pin the newest versions that pyproject.toml allows, with hashes and without any registry's address.
set -eu
bin=$1
"$bin/python" -m pip install --quiet --disable-pip-version-check uv
compile() {
    "$bin/uv" pip compile pyproject.toml "$@" --universal --python-version 3.11 --generate-hashes --quiet --upgrade \
        --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"
}
compile --group build --output-file requirements.lock
compile --all-extras --group build --group dev --output-file requirements-dev.lock
