"""Checks that heads share: options out of range, and options that the chosen loss does not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def out_of_range(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the options of a loss that are out of range."""
    found = []
    if not 0 <= params.get("label_smoothing", 0.0) < 1:
        found.append(("label_smoothing", "must be at least 0 and below 1"))
    calibration = params.get("calibration")
    if calibration is not None and not 0 <= calibration <= 1:
        found.append(("calibration", "must be from 0 to 1"))
    for key in ("block_size", "n_negatives"):
        if params.get(key) is not None and params[key] < 1:
            found.append((key, "must be at least 1"))
    for key in ("temperature", "delta"):
        if params.get(key) is not None and params[key] <= 0:
            found.append((key, "must be above 0"))
    for key in ("focusing", "damping"):
        if params.get(key) is not None and params[key] < 0:
            found.append((key, "must be at least 0"))
    return found


def unread(
    params: Mapping[str, Any],
    setting: str,
    losses: Sequence[str],
    read_by: Mapping[str, Sequence[str]],
    unset: Mapping[str, Any],
) -> list[tuple[str, str]]:
    """Return the options that are set though nothing reads them.

    Args:
        params: the options of the head.
        setting: the other choice that matters, for the message, e.g. ``target=like``.
        losses: the losses that go with it, its default first.
        read_by: losses that read an option, by option; an absent option is not checked here.
        unset: values that are as good as leaving an option out; for others that is null.
    """
    loss = params.get("loss") or losses[0]
    if loss not in losses:
        return [("loss", f'{setting} cannot learn by "{loss}"; allowed: {", ".join(losses)}')]
    found = []
    for key, value in params.items():
        if key in ("target", "loss", "column") or value is None or value == unset.get(key):
            continue
        readers = read_by.get(key, ())
        if loss not in readers:
            who = (
                f"loss={' or loss='.join(readers)}" if readers else f"another choice than {setting}"
            )
            found.append((key, f"is not read with {setting} and loss={loss}; it needs {who}"))
    return found
