"""A run looks for leaks first: it refuses them, reports them, or is told not to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llmrec.cli import main
from llmrec.core.errors import DataError, RunError
from llmrec.core.registry import registry
from llmrec.core.types import Dataset, Split
from llmrec.data.audit import audit, errors
from llmrec.data.splits import LeaveOneOut
from llmrec.data.synthetic import Synthetic
from llmrec.experiment.audits import audit_run, refuse, rendered_prompts
from llmrec.experiment.findings import AUDIT, audit_line, read_audit
from llmrec.experiment.run import run
from llmrec.experiment.store import load_run
from llmrec.recommenders.simple import Popularity
from llmrec.reporting.html import render_report
from llmrec.testing.leaks import copied_texts, with_reviews


class Leaky:
    """Leaves the test in train."""

    def split(self, dataset: Dataset) -> Split:
        parts = LeaveOneOut().split(dataset)
        return replace(parts, train=parts.train.union(parts.test))


@pytest.fixture(autouse=True)
def _leaky() -> Iterator[None]:
    registry("split").register("leaky")(Leaky)
    yield
    del registry("split")._objects["leaky"]


def text_model(template: str) -> dict:
    return {
        "name": "language_model",
        "backbone": {"name": "gpt2"},
        "prompt": {"name": "text", "template": template},
        "head": {"name": "classification"},
    }


def test_a_leaky_run_is_refused_before_anything_is_written(config, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the audit found 2 leaks") as raised:
        run(config(split={"name": "leaky"}), folder=tmp_path / "run")
    assert "same-interaction" in str(raised.value)
    assert "audit=warn" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_leaky_run_goes_on_if_told_so_and_reports_it(config, tmp_path: Path) -> None:
    comparison = run(config(split={"name": "leaky"}, audit="warn"), folder=tmp_path)
    found = read_audit(tmp_path)
    assert found is not None
    assert {each.code for each in found if each.severity == "error"} >= {"same-interaction"}
    assert "2 errors" in audit_line(tmp_path)
    page = render_report(comparison, load_run(tmp_path).context())
    assert "same-interaction" in page
    assert "Leak audit" in page


def test_no_audit(config, tmp_path: Path) -> None:
    comparison = run(config(split={"name": "leaky"}, audit="off"), folder=tmp_path)
    assert not (tmp_path / AUDIT).exists()
    assert audit_line(tmp_path) == "Leak audit: off"
    assert "Leak audit" not in render_report(comparison, load_run(tmp_path).context())


def test_a_clean_run_says_so(config, tmp_path: Path) -> None:
    comparison = run(config(split={"name": "global_temporal"}), folder=tmp_path)
    assert read_audit(tmp_path) == ()
    assert audit_line(tmp_path) == "Leak audit: nothing found"
    assert "nothing found" in render_report(comparison, load_run(tmp_path).context())


def test_prompts_of_a_run_are_audited() -> None:
    data = Synthetic(n_users=200, n_items=600).load()
    parts = LeaveOneOut().split(data)
    good = "{% for item in history %}{{ item.title }}; {% endfor %}"
    full = {"models": {"lm": text_model(good), "ease": {"name": "ease"}}}
    (rendered,) = rendered_prompts(full, parts)
    assert rendered.name == "lm"
    history = rendered.histories[0]
    titles = data.item_fields["title"][history]
    assert rendered.texts[0] == "".join(f"{title}; " for title in titles[-10:])
    assert errors(audit_run(full, parts)) == []
    # A field that tells what came next, for everybody.
    following = data.item_fields["title"].copy()
    for row, targets in enumerate(rendered.targets):
        following[rendered.histories[row][-1]] = data.item_fields["title"][targets[0]]
    fields = {**data.item_fields, "next": following}
    leaky = {"models": {"lm": text_model(good.replace("item.title", "item.next"))}}
    told = [replace(side, item_fields=fields) for side in (parts.train, parts.valid, parts.test)]
    found = errors(audit_run(leaky, Split(*told, "toy", parts.leaks)))
    assert [each.code for each in found] == ["target-in-prompt"]
    with pytest.raises(RunError, match='prompts of "lm" name the held-out item'):
        refuse(found)


def test_a_template_with_an_unknown_field_is_refused_before_training(config, tmp_path) -> None:
    pytest.importorskip("torch")
    models = {"lm": text_model("{{ history | map(attribute='plot') | join }}")}
    with pytest.raises(DataError, match="plot"):
        run(config(models=models), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bad_value_is_refused(config) -> None:
    from llmrec.core.errors import ConfigError

    with pytest.raises(ConfigError, match=r"audit: .*allowed: error, off, warn"):
        run(config(audit="ignore"))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "experiment=none", "model=popularity", "data=synthetic", "data.n_users=50"]
    assert main([*words, "split=global_temporal"]) == 0
    assert "no leak found" in capsys.readouterr().out
    assert main(words) == 0
    assert "0 errors, 4 warnings" in capsys.readouterr().out
    leaky = [*words[:3], "data=synthetic", "~split", "++split={name: leaky}"]
    assert main(leaky) == 1
    assert "same-interaction" in capsys.readouterr().out


def test_findings_do_not_depend_on_the_models() -> None:
    parts = LeaveOneOut().split(Synthetic(n_users=60).load())
    assert audit_run({"models": {"ease": {"name": "ease"}}}, parts) == audit(parts)


class Reader(Popularity):
    """Reads what users write."""

    reads_texts = True


def test_copied_texts_are_an_error_only_if_somebody_reads_them() -> None:
    parts = LeaveOneOut().split(with_reviews(Synthetic(n_users=60).load()))
    parts = copied_texts(parts, np.random.default_rng(0)).split
    assert errors(audit_run({"models": {"a": {"name": "popularity"}}}, parts)) == []
    reader = {"name": f"{__name__}:Reader"}
    found = errors(audit_run({"models": {"a": reader}}, parts))
    assert [each.code for each in found] == ["identical-text"]
