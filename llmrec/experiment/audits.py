"""The leak audit of a run, and ``llmrec audit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmrec.core.config import build
from llmrec.core.errors import RunError
from llmrec.core.types import Split, make_queries
from llmrec.data.audit import Finding, RenderedPrompts, audit, errors, findings_text
from llmrec.experiment.compose import compose_config
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.prompts import check_prompts, prompted
from llmrec.experiment.schema import check_config, complete, recommenders
from llmrec.prompts.records import item_records

# Prompts are all made by one template: some show what the others do.
N_PROMPTS = 500


def audit_run(config: Mapping[str, Any], split: Split) -> tuple[Finding, ...]:
    """Return the leaks of a split and of the text prompts of a run's recommenders.

    Args:
        config: a complete, checked config.
        split: the data, divided.
    """
    prompts = rendered_prompts(config, split)
    titles = split.test.item_fields.get("title")
    # An item without a title is called by its id.
    by_id = bool(prompts) and (titles is None or sum(map(bool, titles)) < len(titles) / 2)
    specs = recommenders(config).values()
    # A recommender that reads what users write says so by this attribute.
    reading = any(getattr(build("recommender", spec), "reads_texts", False) for spec in specs)
    return audit(split, prompts=prompts, ids_are_read=by_id, texts_are_read=reading)


def rendered_prompts(config: Mapping[str, Any], split: Split) -> list[RenderedPrompts]:
    """Return what each recommender with a text prompt would read of the first test queries.

    The question about a candidate is left out: it names the candidate on purpose.

    Raises:
        DataError: if a template names a field that the items lack.
    """
    templates: dict[str, Any] = {}
    for label, spec in prompted(config).items():
        prompt = build("prompt", spec["prompt"])
        if prompt.kind == "text":
            templates[label] = prompt
    if not templates:
        return []
    queries, targets = make_queries(split.train.union(split.valid), split.test)
    first = slice(0, N_PROMPTS)
    queries, targets = queries.take(first), targets.take(first)
    items = item_records(split.train, ["item_0"] * split.train.n_items)
    return [
        RenderedPrompts(
            label,
            "test",
            prompt.render(items, queries.histories, queries.ratings, None),
            queries.histories,
            targets.items,
        )
        for label, prompt in templates.items()
    ]


def refuse(findings: Sequence[Finding]) -> None:
    """Stop a run whose split or prompts leak.

    Raises:
        RunError: that lists the errors.
    """
    wrong = errors(findings)
    if wrong:
        what = "1 leak" if len(wrong) == 1 else f"{len(wrong)} leaks"
        raise RunError(
            f"the audit found {what}; the numbers of this run would mean nothing. Mend the data "
            "or the split (docs/explanation/audit.md says how), or set audit=warn to go on\n"
            + findings_text(wrong)
        )


def left_out_words(left_out: Mapping[str, int]) -> str:
    """Return what a split leaves out, in words; "" if nothing.

    Example:
        >>> left_out_words({"later than the window": 1200})
        'left out of the split: 1,200 interactions later than the window'
    """
    told = ", ".join(f"{n:,} interactions {why}" for why, n in left_out.items())
    return f"left out of the split: {told}" * bool(told)


def audit_text(overrides: Sequence[str]) -> tuple[str, bool]:
    """Audit what a run with these overrides would use; return the findings and whether it leaks.

    Raises:
        ConfigError: for overrides that do not compose or options that are wrong.
        DataError: if the data cannot be loaded or divided.
    """
    config = compose_config(overrides)
    check_config(config)
    full = complete(config)
    dataset = load_dataset(full)
    check_prompts(full, dataset)
    split: Split = build("split", full["split"]).split(dataset)
    findings = audit_run(full, split)
    prompts = ", ".join(each.name for each in rendered_prompts(full, split)) or "none"
    head = f"{split.train.name}, {split.protocol}; text prompts: {prompts}"
    left_out = left_out_words(split.left_out)
    head += f"\n{left_out}" * bool(left_out)
    return f"{head}\n{findings_text(findings)}", bool(errors(findings))
