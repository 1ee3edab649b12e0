from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest

from llmrec.core.errors import RunError
from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Ragged
from llmrec.evaluation.evaluate import evaluate, make_exam
from llmrec.evaluation.result import ModelResult, full_label


@pytest.fixture(params=["ranking", "rating", "preference"])
def result(request, split, table, options, scores):
    judged = evaluate(table(scores(1)), make_exam(split, options(request.param)), label="A, b/c")
    info = ModelInfo("language_model", 5, 2, "bert@main", {"best_epoch": 3, "loss": 0.1})
    return replace(judged, info=info).with_costs(fit_seconds=1 / 3, peak_memory_bytes=2**40)


def assert_equal(one: ModelResult, other: ModelResult) -> None:
    for field in fields(ModelResult):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Ragged):
            assert a.values.dtype == b.values.dtype
            np.testing.assert_array_equal(a.values, b.values)
            np.testing.assert_array_equal(a.offsets, b.offsets)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif field.name == "per_user":
            assert list(a) == list(b)
            for name in a:
                assert a[name].tobytes() == b[name].tobytes()  # every bit, NaN included
        else:
            np.testing.assert_equal(a, b)


def test_a_round_trip_keeps_every_bit(result, tmp_path):
    result.save(tmp_path / "results" / "model")
    assert_equal(ModelResult.load(tmp_path / "results" / "model"), result)


def test_nan_infinite_and_empty_rows_survive(result, tmp_path):
    odd = {name: values.copy() for name, values in result.per_user.items()}
    name = next(iter(odd))
    odd[name][:3] = [np.nan, -0.0, 5e-324]
    changed = replace(result, per_user=odd, overall={**result.overall, name: float("nan")})
    if result.ranks is not None:
        lengths = result.ranks.lengths.copy()
        lengths[[0, 1]] = [lengths[:2].sum(), 0]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        changed = replace(changed, ranks=Ragged(result.ranks.values, offsets))
    changed.save(tmp_path)
    assert_equal(ModelResult.load(tmp_path), changed)
    json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)


def test_the_table_is_readable_by_itself(result, tmp_path):
    result.save(tmp_path)
    frame = pl.read_parquet(tmp_path / "per_user.parquet")
    assert frame["user"].to_list() == result.users.tolist()
    for name, values in result.per_user.items():
        np.testing.assert_array_equal(frame[full_label(name, result.protocol)].to_numpy(), values)
    lists = ["ranks", "items"] if result.task == "ranking" else ["truth", "predicted"]
    assert frame.columns[-2:] == lists


def test_saving_again_replaces_and_leaves_nothing_else(result, tmp_path):
    result.save(tmp_path)
    other = replace(result, label="another")
    other.save(tmp_path)
    assert ModelResult.load(tmp_path).label == "another"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["per_user.parquet", "result.json"]


def test_no_result_in_a_folder(tmp_path):
    with pytest.raises(RunError, match=r"there is no .*result\.json"):
        ModelResult.load(tmp_path)


def test_a_missing_or_foreign_table_is_noticed(result, tmp_path):
    result.save(tmp_path / "a")
    table = tmp_path / "a" / "per_user.parquet"
    table.write_bytes(table.read_bytes() + b"x")
    with pytest.raises(RunError, match=r"is not the table that result\.json beside it describes"):
        ModelResult.load(tmp_path / "a")
    table.unlink()
    with pytest.raises(RunError, match=r"there is no .*per_user\.parquet.* incomplete"):
        ModelResult.load(tmp_path / "a")


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"sha256": {}}'])
def test_a_broken_header_gets_a_sentence(result, tmp_path, content):
    result.save(tmp_path)
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(RunError, match=r"broken result|not valid JSON"):
        ModelResult.load(tmp_path)


def test_a_folder_that_cannot_be_written_gets_a_sentence(result, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        result.save(tmp_path / "file" / "results")
