"""The leak auditor: what a split, its texts, ids, prompts and statistics give away of the test."""

from llmrec.data.audit.audit import audit
from llmrec.data.audit.findings import CODES, Finding, errors, findings_text
from llmrec.data.audit.prompts import RenderedPrompts
from llmrec.data.audit.statistics import FittedPiece

__all__ = [
    "CODES",
    "Finding",
    "FittedPiece",
    "RenderedPrompts",
    "audit",
    "errors",
    "findings_text",
]
