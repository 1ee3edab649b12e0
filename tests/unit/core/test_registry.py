from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from llmrec.core.builtins import BUILTINS
from llmrec.core.errors import ComponentError, UnknownNameError
from llmrec.core.registry import Registry, registry


def _registry(**names: str) -> Registry:
    return Registry("recommender", names)


def _with_plugins(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> Registry:
    found = [EntryPoint(name, value, "llmrec.recommender") for name, value in points]
    monkeypatch.setattr("llmrec.core.registry.entry_points", lambda group: found)
    return _registry(decoder="json.decoder:JSONDecoder")


def test_get_imports_the_class_behind_a_name() -> None:
    from json.decoder import JSONDecoder

    assert _registry(decoder="json.decoder:JSONDecoder").get("decoder") is JSONDecoder


@pytest.mark.parametrize("path", ["json.decoder:JSONDecoder", "json.decoder.JSONDecoder"])
def test_get_accepts_a_dotted_path(path: str) -> None:
    from json.decoder import JSONDecoder

    assert _registry().get(path) is JSONDecoder


def test_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(UnknownNameError, match=r'unknown recommender "decodr" \(did you mean "dec'):
        _registry(decoder="json.decoder:JSONDecoder").get("decodr")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no_such_module_at_all:X", "cannot be imported: ModuleNotFoundError"),
        ("json.decoder:Nothing", "cannot be imported: AttributeError"),
        ("json:dumps", "is not a class"),
    ],
)
def test_a_broken_target_is_a_component_error(target: str, says: str) -> None:
    with pytest.raises(ComponentError, match=says):
        _registry(broken=target).get("broken")


def test_the_decorator_registers_and_refuses_a_taken_name() -> None:
    names = _registry(decoder="json.decoder:JSONDecoder")

    @names.register("mine")
    class Mine:
        """Mine."""

    assert names.get("mine") is Mine
    assert "mine" in names
    for taken in ("mine", "decoder"):
        with pytest.raises(ComponentError, match=f'"{taken}" is registered already'):
            names.register(taken)(type("Other", (), {}))


def test_registering_the_same_class_again_is_fine_as_a_notebook_cell_does() -> None:
    names = _registry()

    def define() -> type:
        @names.register("cell")
        class Cell:
            pass

        return Cell

    define()
    again = define()
    assert names.get("cell") is again


def test_plugins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _with_plugins(monkeypatch, ("encoder", "json.encoder:JSONEncoder"))
    assert names.names() == ["decoder", "encoder"]
    assert names.get("encoder").__name__ == "JSONEncoder"


def test_a_plugin_may_not_take_the_name_of_a_builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _with_plugins(monkeypatch, ("decoder", "json.encoder:JSONEncoder"))
    with pytest.raises(ComponentError, match="has the name of a built-in component"):
        names.names()


def test_two_plugins_may_not_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _with_plugins(monkeypatch, ("x", "json:A"), ("x", "csv:B"))
    with pytest.raises(ComponentError, match="registered twice"):
        names.names()


def test_entries_show_a_broken_plugin_and_a_working_one(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _with_plugins(
        monkeypatch, ("broken", "no_such_module:X"), ("encoder", "json.encoder:JSONEncoder")
    )
    entries = {entry.name: entry for entry in names.entries()}
    assert entries["broken"].error is not None
    assert "no_such_module" in entries["broken"].error
    assert entries["encoder"].error is None
    assert entries["encoder"].summary.startswith("Extensible JSON")
    assert entries["decoder"].summary == "Simple JSON <https://json.org> decoder"


@pytest.mark.parametrize("kind", BUILTINS)
def test_every_builtin_is_a_class_with_a_sentence(kind: str) -> None:
    summaries = {entry.name: entry.summary for entry in registry(kind).entries()}
    without = [name for name in BUILTINS[kind] if not summaries[name].endswith(".")]
    assert without == []


def test_an_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(UnknownNameError, match='did you mean "recommender"'):
        registry("recomender")


def test_listing_every_component_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from llmrec.core.registry import REGISTRIES\n"
        "[list(r.entries()) for r in REGISTRIES.values()]\n"
        "heavy = {'torch', 'transformers', 'polars', 'matplotlib', 'implicit', 'wandb', 'peft'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
