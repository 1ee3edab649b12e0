"""The languages of texts, for the description of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from llmrec.core.errors import MissingExtraError
from llmrec.core.extras import require

# Of this many texts each share has a standard error of at most 1.2 %.
SAMPLE = 2000
# Looked at on titles of shops and films: below it py3langid calls English names Latin or Danish.
LEAST_PROBABILITY = 0.3
UNDECIDED = "undecided"


def languages(texts: Sequence[str], *, sample: int = SAMPLE) -> dict[str, Any]:
    """Return the share of each language among texts that are not empty, the largest first.

    Judged by py3langid (no network) among the 58 languages of stopwordsiso; ``undecided`` if the
    likeliest has a probability below .3, as titles often have. Of many texts a sample is judged,
    the same at every call.

    Args:
        texts: any.
        sample: how many at most.

    Returns:
        ``texts``: how many are not empty; ``judged``: how many of them were looked at;
        ``shares`` by two-letter code. Without the two packages, ``unknown`` says so instead.
    """
    present = [text for text in texts if text.strip()]
    judged = present
    if len(present) > sample:
        chosen = np.random.default_rng(0).choice(len(present), sample, replace=False)
        judged = [present[place] for place in np.sort(chosen)]
    found: dict[str, Any] = {"texts": len(present), "judged": len(judged)}
    try:
        identifier = _identifier()
    except MissingExtraError as error:
        return found | {"judged": 0, "unknown": str(error)}
    counts: Counter[str] = Counter()
    for text in judged:
        code, probability = identifier.classify(text)
        counts[code if probability >= LEAST_PROBABILITY else UNDECIDED] += 1
    shares = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return found | {"shares": {code: n / len(judged) for code, n in shares}}


@cache
def _identifier() -> Any:
    purpose = "counting languages"
    langid = require("py3langid.langid", "text", purpose)
    named = require("stopwordsiso", "text", purpose).langs()
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(set(named) & set(identifier.labels)))
    return identifier
