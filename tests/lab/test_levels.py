"""Service levels: what ships, what a file and options change, what becomes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from goldenpath.lab.level import Level, Status
from goldenpath.lab.levels import LevelError, default_levels, resolve_levels
from goldenpath.lab.quantities import UnknownQuantity, find
from goldenpath.lab.scenarios import SCENARIOS


def level(**fields: object) -> Level:
    return Level(**{"name": "l", "quantity": "run.p95", "comparison": "<=", "target": 1.0, "limit": 2.0, **fields})  # type: ignore[arg-type]


def resolved(file: Path | None = None, *options: str) -> dict[str, Level]:
    return {level.name: level for level in resolve_levels(file, options)}


@pytest.mark.parametrize(
    ("measured", "status"),
    [(0.5, Status.MET), (1.0, Status.MET), (1.01, Status.MISSED), (2.0, Status.MISSED), (2.01, Status.BROKEN)],
)
def test_the_target_is_missed_before_the_limit_is_broken(measured: float, status: Status) -> None:
    assert level().status(measured) is status
    assert level(comparison=">=", target=-1.0, limit=-2.0).status(-measured) is status


def test_no_samples_are_unknown_and_without_a_limit_nothing_is_broken() -> None:
    assert level().status(None) is Status.UNKNOWN
    assert level(limit=None).status(100.0) is Status.MISSED


def test_patterns_choose_scenarios_and_take_some_away_again() -> None:
    assert level(scenarios=("golden_path*", "!golden_path_1")).applies_to("golden_path_10")
    assert not level(scenarios=("golden_path*", "!golden_path_1")).applies_to("golden_path_1")
    assert not level(scenarios=()).applies_to("spike")


def test_every_default_level_names_its_source_and_scenarios_that_there_are() -> None:
    levels = default_levels()
    assert len(levels) > 50
    for name, each in levels.items():
        assert each.text, name
        assert each.source, name
        assert all(re.fullmatch(r"[MTC]\d+", source) for source in each.source), name
        assert find(each.quantity).better == each.comparison, name
        assert any(each.applies_to(scenario) for scenario in SCENARIOS), name
        assert not each.against or each.against in SCENARIOS, name


@pytest.mark.parametrize(
    ("name", "target", "limit"),
    [
        ("login", 1, 5),
        ("connect", 3, 5),
        ("golden-path", 10, 60),
        ("ten-users-degradation", 0.2, 0.3),
        ("isolation", 0, 0),
        ("delivery", 0, 0),
        ("success", 1, 0.999),
        ("memory", 2048, 2048),
    ],
)
def test_contradictions_of_the_sources_are_decided_as_written_down(name: str, target: float, limit: float) -> None:
    assert (default_levels()[name].target, default_levels()[name].limit) == (target, limit)


def test_an_option_wins_over_a_file_which_wins_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[levels.connect]\nlimit = 4\n[levels.login]\ntarget = 0.5\n[levels.own]\nquantity = "run.p90"\nlimit = 7\n'
    )
    levels = resolved(file, "login=0.3,0.4")
    assert (levels["connect"].target, levels["connect"].limit) == (3, 4)
    assert (levels["login"].target, levels["login"].limit) == (0.3, 0.4)
    assert levels["login"].source == default_levels()["login"].source
    assert (levels["own"].target, levels["own"].limit, levels["own"].comparison) == (7, 7, "<=")
    assert levels["history"] == default_levels()["history"]


def test_json_says_the_same_as_toml(tmp_path: Path) -> None:
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('[levels.login]\nlimit = 2\nscenarios = ["spike"]\n')
    json.write_text('{"levels": {"login": {"limit": 2, "scenarios": ["spike"]}}}')
    assert resolved(toml) == resolved(json)


def test_the_file_of_the_docs_is_taken(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs/service-levels.md"
    (block,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    file = tmp_path / "levels.toml"
    file.write_text(block)
    levels = resolved(file)
    assert (levels["connect"].limit, levels["first-token"].quantity) == (4, "first_token.p95")
    assert not levels["first-token"].applies_to("stress")


def test_an_option_for_a_quantity_is_the_only_level_of_it() -> None:
    levels = resolved(None, "run.p95=0.5")
    assert [each.name for each in levels.values() if each.quantity == "run.p95"] == ["run.p95"]
    assert levels["run.p95"].limit == 0.5
    assert resolved(None, "success_rate.ask=0.9")["success_rate.ask"].comparison == ">="


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels = 3", r"f.toml: there has to be a table `levels`, and nothing else"),
        ("[levels.login]\nlimitt = 3", r"f.toml: levels.login: Object contains unknown field `limitt`"),
        ("[levels.login]\nlimit = 'x'", r"f.toml: levels.login.limit: Expected `float \| null`, got `str`"),
        ("[levels.own]\nlimit = 3", r"f.toml: levels.own.quantity: missing"),
        ("[levels.own]\nquantity = 'run.p95'", r"f.toml: levels.own.target: missing"),
        ("[levels.own]\nquantity = 'conect.p95'\nlimit=1", r"levels.own.quantity: .* did you mean 'connect.p95'\?"),
        ("[levels.login]\ntarget = 9", r"f.toml: levels.login.target: 9 asks for less than the limit, 5"),
        ("[levels.login]\nlimit = inf", r"f.toml: levels.login.limit: inf is no number to hold anything to"),
        ("[levels.own]\nquantity = 'run.p95'\ntarget = nan", r"f.toml: levels.own.target: nan is no number"),
        ("[levels.'<b>']\nlimit = 1", r"a name has only lower-case letters"),
        ("[levels", r"f.toml: not TOML: "),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "f.toml"
    file.write_text(text)
    with pytest.raises(LevelError, match=message) as raised:
        resolve_levels(file, [])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("conect=1", "there is a level 'connect'"),
        ("nothing.like.it=1", "no level and no quantity"),
        ("login", "not NAME=LIMIT"),
        ("login=fast", "not NAME=LIMIT"),
        ("login=nan", "not NAME=LIMIT"),
        ("login=inf", "not NAME=LIMIT"),
        ("success=-inf", "not NAME=LIMIT"),
        ("run.p95=1e999", "not NAME=LIMIT"),
        ("login=1,2,3", "not NAME=LIMIT"),
    ],
)
def test_what_is_wrong_with_an_option_is_one_line(option: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        resolve_levels(None, [option])


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LevelError, match=r"none\.toml: cannot be read: No such file"):
        resolve_levels(tmp_path / "none.toml", [])


@pytest.mark.parametrize("name", ["run", "run.p100x", "run.median", "walk.p95", "success_rate.walking", "violations."])
def test_what_is_no_quantity_is_refused(name: str) -> None:
    with pytest.raises(UnknownQuantity):
        find(name)
