"""The page's own modules: those without a page are tested in Node.js, and all of them are found by the page."""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGES = files("goldenpath.runtime.gateway") / "pages"


@pytest.mark.node
def test_the_modules_without_a_page_do_what_their_own_tests_say() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("the tests of the page's modules need Node.js 18.19 or later: https://nodejs.org", pytrace=False)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    # Later ones see by themselves that the page's files are modules.
    old = ["--experimental-default-type=module"] if int(version[1:].split(".")[0]) < 20 else []
    tests = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))
    assert tests
    done = subprocess.run([node, *old, "--test", *tests], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"pass (\d+)", done.stdout)
    assert counted is not None
    assert int(counted[1]) > 100


ENTRIES = {"chat.html": "app.js", "dashboard.html": "dashboard/app.js"}
MODULES = sorted(str(path.relative_to(str(PAGES / "js"))) for path in Path(str(PAGES / "js")).rglob("*.js"))


def reached(entry: str) -> set[str]:
    """The modules that the module `entry` imports, itself included."""
    found: set[str] = set()
    ahead = [entry]
    while ahead:
        module = ahead.pop()
        if module not in found:
            found.add(module)
            imports = re.findall(r'from "([^"]+)"', (PAGES / "js" / module).read_text())
            ahead += [posixpath.normpath(f"{posixpath.dirname(module)}/{each}").lstrip("/") for each in imports]
    return found


@pytest.mark.parametrize("page", ENTRIES)
def test_every_module_is_fetched_with_the_page_rather_than_one_after_another(page: str) -> None:
    preloaded = re.findall(r'<link rel="modulepreload" href="assets/js/([^"]+)">', (PAGES / page).read_text())
    assert preloaded == sorted(reached(ENTRIES[page]))


def test_no_module_is_left_that_no_page_has() -> None:
    assert set().union(*map(reached, ENTRIES.values())) == set(MODULES)


@pytest.mark.parametrize("name", [*ENTRIES, "login.html"])
def test_the_page_holds_no_script_or_style_of_its_own_and_nothing_from_elsewhere(name: str) -> None:
    page = (PAGES / name).read_text()
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page) == []
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_makes_html_from_text(module: str) -> None:
    source = (PAGES / "js" / module).read_text()
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source) == []
