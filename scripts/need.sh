#!/bin/sh
# need.sh COMMAND PACKAGE...: make sure COMMAND is there, from Debian's PACKAGEs where we may install them.
command=$1
shift
command -v "$command" >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing $* (the tests need $command)"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
    command -v "$command" >/dev/null 2>&1 && exit 0
fi
echo "the tests need $command: install it, e.g. sudo apt-get install $*" >&2
exit 1
