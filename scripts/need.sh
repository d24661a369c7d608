#!/bin/sh
# need.sh NAME PACKAGE...: make sure the command NAME, or the library of a name with .so in it, is there: from Debian's
# PACKAGEs where we may install them.
name=$1
shift
there() {
    case $name in
    *.so*) PATH="$PATH:/sbin" ldconfig -p 2>/dev/null | grep -q "$name" ;;
    *) PATH="$PATH:/usr/sbin" command -v "$name" >/dev/null 2>&1 ;;
    esac
}
there && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing $* (the tests need $name)"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
    there && exit 0
fi
echo "the tests need $name: install it, e.g. sudo apt-get install $*" >&2
exit 1
