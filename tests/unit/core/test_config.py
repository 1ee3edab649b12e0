from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core import config
from llmrec.core.config import BackboneSpec, build, check, check_options, describe, options_of
from llmrec.core.errors import ConfigError
from llmrec.core.registry import Registry


@dataclass(frozen=True)
class Sizes:
    width: int
    depth: float = 1.0


class Engine:
    """An engine."""

    def __init__(self, *, power: int = 5, fuel: Literal["gas", "oil"] = "gas") -> None:
        self.power, self.fuel = power, fuel

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [("power", "must be positive")] if params.get("power", 5) <= 0 else []


class Car:
    """A car with everything a signature can hold."""

    def __init__(
        self,
        *,
        speed: float,
        engine: BackboneSpec,
        spare: BackboneSpec | None = None,
        sizes: Sizes | None = None,
        names: Sequence[str] = (),
        doors: int | None = None,
        fast: bool = False,
        place: Path | None = None,
        extra: Mapping[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.speed, self.engine, self.sizes, self.doors = speed, engine, sizes, doors
        self.place, self.seed = place, seed


@pytest.fixture(autouse=True)
def _registries(monkeypatch: pytest.MonkeyPatch) -> None:
    cars, engines = Registry("recommender", {}), Registry("backbone", {})
    cars.register("car")(Car)
    engines.register("engine")(Engine)
    known = {"recommender": cars, "backbone": engines}
    monkeypatch.setattr(config, "registry", known.__getitem__)


GOOD = {"name": "car", "speed": 3, "engine": {"name": "engine"}}


def _problems(**changes: Any) -> dict[str, str]:
    return {p.where: p.what for p in check("recommender", {**GOOD, **changes}, "model")}


def test_a_good_spec_has_no_problem() -> None:
    assert check("recommender", GOOD) == []
    full = {
        "spare": None,
        "sizes": {"width": 1, "depth": 2},
        "names": ["a", "b"],
        "doors": 4,
        "fast": True,
        "place": "/tmp",
        "extra": {"x": 1},
    }
    assert _problems(**full) == {}


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"sped": 1}, "model.sped", 'did you mean "speed"'),
        ({"speed": "3"}, "model.speed", "expected float, got '3' (str)"),
        ({"speed": True}, "model.speed", "expected float, got True"),
        ({"speed": float("nan")}, "model.speed", "expected float"),
        ({"doors": 4.0}, "model.doors", "expected int or null, got 4.0"),
        ({"doors": True}, "model.doors", "expected int or null"),
        ({"fast": 1}, "model.fast", "expected bool"),
        ({"names": "abc"}, "model.names", "expected a list of str"),
        ({"names": ["a", 1]}, "model.names[1]", "expected str"),
        ({"sizes": {"width": 1, "hight": 2}}, "model.sizes.hight", "unknown key"),
        ({"sizes": {}}, "model.sizes.width", "needs a value"),
        ({"extra": {"x": "1"}}, "model.extra.x", "expected int"),
        ({"engine": {"name": "engin"}}, "model.engine.name", 'did you mean "engine"'),
        ({"engine": {}}, "model.engine", "a backbone needs a name"),
        ({"engine": "engine"}, "model.engine", "expected a backbone"),
        ({"engine": {"name": "engine", "fuel": "water"}}, "model.engine.fuel", "gas, oil"),
        ({"engine": {"name": "engine", "power": -1}}, "model.engine.power", "must be positive"),
        ({"spare": {"name": "engine", "power": "x"}}, "model.spare.power", "expected int"),
    ],
)
def test_each_mistake_is_found_where_it_is(changes: dict[str, Any], where: str, what: str) -> None:
    found = _problems(**changes)
    assert list(found) == [where]
    assert what in found[where]


def test_all_problems_are_reported_at_once() -> None:
    found = _problems(speed="x", sped=1, engine={"name": "engine", "power": "y", "fuel": "water"})
    assert set(found) == {
        "model.speed",
        "model.sped",
        "model.engine.power",
        "model.engine.fuel",
    }


def test_rules_apply_to_the_options_that_are_right() -> None:
    """A mistake beside it must not hide what a component's own rules say."""
    found = _problems(engine={"name": "engine", "power": -1, "fuel": "water", "size": 1})
    assert found["model.engine.power"] == "must be positive"
    assert set(found) == {"model.engine.power", "model.engine.fuel", "model.engine.size"}
    assert "power" in {p.where for p in check("backbone", {"name": "engine", "power": -1, "x": 1})}


def test_rules_hear_nothing_of_an_option_that_is_wrong() -> None:
    found = _problems(engine={"name": "engine", "power": "-1"})
    assert list(found) == ["model.engine.power"]
    assert "expected int" in found["model.engine.power"]


def test_a_missing_option_is_a_problem() -> None:
    found = check("recommender", {"name": "car"})
    assert [problem.where for problem in found] == ["speed", "engine"]


def test_build_converts_to_the_announced_types() -> None:
    car = build("recommender", {**GOOD, "sizes": {"width": 2, "depth": 3}, "place": "/tmp"})
    assert (type(car.speed), car.sizes, car.place) == (float, Sizes(2, 3.0), Path("/tmp"))
    assert type(car.sizes.depth) is float


def test_build_supplies_defaults_only_where_asked_for_and_unset() -> None:
    assert build("recommender", GOOD, seed=7, colour="red").seed == 7
    assert build("recommender", {**GOOD, "seed": 1}, seed=7).seed == 1


def test_build_refuses_a_wrong_spec_with_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        build("recommender", {"name": "car", "sped": 1})
    assert len(caught.value.problems) == 3


def test_hidden_options_are_refused() -> None:
    def hidden(**anything: int) -> None: ...

    with pytest.raises(ConfigError, match="a component names its options"):
        options_of(hidden)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "int or null"),
        (Literal["a", "b"], "one of a, b"),
        (Sequence[float], "a list of float"),
        (Mapping[str, int], "a mapping of int"),
        (BackboneSpec | None, "a backbone or null"),
        (Sequence[BackboneSpec], "a list of a backbone"),
    ],
)
def test_types_are_described_in_words(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(_json)
def test_any_value_anywhere_gives_problems_not_exceptions(value: Any) -> None:
    for key in (*options_of(Car), "other"):
        for problem in check_options(Car, {"speed": 1, "engine": {"name": "engine"}, key: value}):
            assert problem.where.startswith(key)
    check("recommender", value)


@given(_json)
def test_a_spec_without_problems_builds(value: Any) -> None:
    spec = {**GOOD, "doors": value, "names": value}
    if check("recommender", spec):
        with pytest.raises(ConfigError):
            build("recommender", spec)
    else:
        assert build("recommender", spec).doors == value
