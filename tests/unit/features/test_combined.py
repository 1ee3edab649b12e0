"""Several features side by side: scales of the training rows, sparse where one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_cases import data, texts_changed
from scipy import sparse

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, ConfigError
from llmrec.core.types import make_queries
from llmrec.features.base import load_feature, training_queries
from llmrec.features.combined import Combined

WORDS = {"name": "term_counts"}
COUNTS = {"name": "history", "of": "item", "windows_days": []}


def test_dense_columns_have_mean_0_and_deviation_1_over_items_of_training() -> None:
    feature = Combined(features={"counts": COUNTS}).fit(data())
    seen = feature.items()[:4].astype(np.float64)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-6)
    spread = seen.std(axis=0)
    np.testing.assert_allclose(spread[spread > 0], 1, rtol=1e-5)
    assert feature.columns[0] == "counts: count"


def test_sparse_columns_are_only_divided() -> None:
    feature = Combined(features={"words": WORDS, "counts": COUNTS}).fit(data())
    items = feature.items()
    assert sparse.issparse(items)
    raw = build("feature", WORDS).fit(data()).items().toarray()
    expected = raw / np.where(raw[:4].std(axis=0) > 0, raw[:4].std(axis=0), 1)
    np.testing.assert_allclose(items.toarray()[:, : raw.shape[1]], expected, rtol=1e-5)
    dense = Combined(features={"words": WORDS, "counts": COUNTS}, standardize="dense").fit(data())
    np.testing.assert_array_equal(dense.items().toarray()[:, : raw.shape[1]], raw)
    none = Combined(features={"words": WORDS, "counts": COUNTS}, standardize="none").fit(data())
    own = build("feature", COUNTS).fit(data()).items()
    np.testing.assert_array_equal(none.items().toarray()[:, raw.shape[1] :], own)


def test_features_of_queries_are_scaled_by_training_questions() -> None:
    spec = {"user": {"name": "history"}, "moment": {"name": "context", "place": "country"}}
    feature = Combined(features=spec).fit(data())
    rows = feature.queries(training_queries(data(), np.arange(5))).astype(np.float64)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    spread = rows.std(axis=0)
    np.testing.assert_allclose(spread[spread > 1e-6], 1, rtol=1e-5)


def test_scales_do_not_see_other_items_nor_held_out_rows() -> None:
    features = {"words": WORDS, "counts": COUNTS}
    clean = Combined(features=features).fit(data())
    other = Combined(features=features).fit(texts_changed())
    np.testing.assert_array_equal(clean.scales, other.scales)
    np.testing.assert_array_equal(clean.items()[:4].toarray(), other.items()[:4].toarray())
    held = np.arange(5) >= 3
    train = data().select(~held)
    fitted = Combined(features={"user": {"name": "history"}}).fit(train)
    queries, _ = make_queries(train, data().select(held))
    before = fitted.queries(queries)
    again = Combined(features={"user": {"name": "history"}}).fit(train)
    np.testing.assert_array_equal(again.queries(queries), before)


def test_saved_and_loaded_it_gives_the_same(tmp_path: Path) -> None:
    feature = Combined(features={"words": WORDS, "counts": COUNTS}).fit(data())
    feature.save(tmp_path / "f")
    loaded = load_feature(tmp_path / "f")
    np.testing.assert_array_equal(loaded.items().toarray(), feature.items().toarray())
    assert loaded.columns == feature.columns
    np.testing.assert_array_equal(
        loaded.observe(data()).items().toarray(), feature.items().toarray()
    )


def test_items_and_queries_do_not_mix() -> None:
    with pytest.raises(ComponentError, match="different things"):
        Combined(features={"words": WORDS, "user": {"name": "history"}}).fit(data())
    with pytest.raises(ConfigError, match="at least one"):
        Combined(features={})
    with pytest.raises(ConfigError, match=r"features\.words\.longes"):
        build("feature", {"name": "combined", "features": {"words": {**WORDS, "longes": 2}}})
