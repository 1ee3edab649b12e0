"""A language model behind an endpoint as a recommender: it is asked, never trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from llmrec.backbones.chat import (
    CHARACTERS_PER_TOKEN,
    Reply,
    estimate_text,
    likely_tokens,
    most_output,
)
from llmrec.core.config import BackboneSpec, PromptSpec, build
from llmrec.core.errors import ComponentError, DataError, LlmrecError, RunError
from llmrec.core.extras import require
from llmrec.core.files import read_json, write_json
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo, Task
from llmrec.core.seeding import derive_seed, hash_pairs
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.prompts.records import item_records
from llmrec.recommenders.answers import (
    INSTRUCTIONS,
    listed,
    log_odds,
    number_log_odds,
    parse_ranking,
    parse_titles,
    talk,
)
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.titles import TitleIndex
from llmrec.recommenders.worked_examples import Shown, draw_examples

SYSTEM = "You are a recommender system. You answer exactly in the form that you are asked for."
EXAMPLE_CANDIDATES = 5
MOST_LOGPROBS = 20


class HostedLanguageModel(BaseRecommender):
    """A hosted language model that recommends, zero- or few-shot, from prompts alone.

    It judges candidates: those of a retriever or of a sampled evaluation. The whole catalogue is
    scored only if `full_catalogue` says so; generating titles needs no candidates.

    Args:
        backbone: spec of the endpoint, backbone=api.
        prompt: spec of the text that shows the history; its max_length counts four characters as
            a token, and the oldest items are left out of a longer text.
        mode: ``score`` asks about one candidate per request; ``rank`` lists the candidates in one
            request and reads an order; ``generate`` reads titles that the model names freely.
        answer: of mode score: ``logprobs`` compares the probabilities of yes and no; ``number``
            asks for 0 to 100, for endpoints that give no log-probabilities.
        yes: the word for a like.
        no: the word for a dislike.
        n_examples: worked examples from training users before the question; 0: zero-shot.
        threshold: a rating at or above it is a like in the worked examples of mode score.
        n_titles: of mode generate: titles asked for.
        likeness: of modes rank and generate: least likeness of a misspelt title, 0 to 100.
        n_orders: of mode rank: shuffled orders of the candidates, one request each, averaged.
        max_candidates: of mode rank: most candidates in one prompt.
        full_catalogue: whether a whole catalogue may be scored in modes score and rank.
        system: message before everything; null for models that take none.
        instruction: how to answer; null: that of the mode.
        seed: of worked examples and orders of candidates.
    """

    def __init__(
        self,
        *,
        backbone: BackboneSpec,
        prompt: PromptSpec,
        mode: Literal["score", "rank", "generate"] = "rank",
        answer: Literal["logprobs", "number"] = "logprobs",
        yes: str = "yes",
        no: str = "no",
        n_examples: int = 0,
        threshold: float = 4.0,
        n_titles: int = 10,
        likeness: float = 90.0,
        n_orders: int = 1,
        max_candidates: int = 100,
        full_catalogue: bool = False,
        system: str | None = SYSTEM,
        instruction: str | None = None,
        seed: int = 0,
    ) -> None:
        self.backbone = backbone
        self.prompt = prompt
        self.mode = mode
        self.answer = answer
        self.yes = yes
        self.no = no
        self.n_examples = n_examples
        self.threshold = threshold
        self.n_titles = n_titles
        self.likeness = likeness
        self.n_orders = n_orders
        self.max_candidates = max_candidates
        self.full_catalogue = full_catalogue
        self.system = system
        self.instruction = instruction
        self.seed = seed
        require_valid(self)
        self._backbone = build("backbone", backbone)
        self._prompt = build("prompt", prompt)
        self._records: list[dict[str, str]] | None = None
        self._examples: list[dict[str, str]] = []
        self._index: TitleIndex | None = None
        self._facts: dict[str, int] = {}

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range or does not fit together."""
        found = below(params, n_examples=0, n_titles=1, n_orders=1, max_candidates=2)
        if not 0 < params.get("likeness", 90.0) <= 100:
            found.append(("likeness", "must be above 0 and at most 100"))
        words = [str(params.get(key, key)).strip().casefold() for key in ("yes", "no")]
        if not all(words) or words[0].startswith(words[1]) or words[1].startswith(words[0]):
            found.append(("yes", "yes and no must be two words that do not begin alike"))
        try:
            backbone = build("backbone", params["backbone"])
            prompt = build("prompt", params["prompt"])
        except LlmrecError:
            return found  # reported with its own place by the check of the nested spec
        if backbone.architecture != "api":
            found.append(
                (
                    "backbone",
                    f"is {backbone.architecture}, a model of this machine; choose backbone=api "
                    "for an endpoint, or model=language_model",
                )
            )
        if prompt.kind != "text":
            found.append(("prompt", "has no words for an endpoint to read; choose prompt=text"))
        elif prompt.reads_review:
            what = "reads the review of what is judged, which no task of a hosted model may"
            found.append(("prompt.question", what))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"ranking", "preference"} if self.mode == "score" else {"ranking"})

    @property
    def asks_about_candidates(self) -> bool:
        """Whether a prompt asks about one candidate, so that its question is used."""
        return self.mode == "score"

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            family="language_model",
            weights=self._backbone.weights,
            details={"mode": self.mode, "worked_examples": len(self._examples)},
        )

    def warm_up(self) -> None:
        """Ask for what reading titles needs before anything is paid for."""
        if self.mode != "score":
            require("rapidfuzz", "hosted", "matching the titles that a model wrote")

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,  # noqa: ARG002  nothing is selected
        context: FitContext = NO_CONTEXT,  # noqa: ARG002  nothing takes long
    ) -> Self:
        self.warm_up()
        if not any(train.item_texts()):
            raise DataError(
                f"a hosted language model reads titles, but {train.name} has no item texts; give "
                "an item file with titles"
            )
        self._know(item_records(train))
        self._examples = []
        for shown in draw_examples(
            train,
            self.n_examples,
            mode=self.mode,
            threshold=self.threshold,
            n_candidates=min(EXAMPLE_CANDIDATES, self.max_candidates),
            n_titles=self.n_titles,
            seed=derive_seed(self.seed, "worked examples"),
        ):
            self._examples.append(self._worked(shown))
        return self

    def _know(self, records: list[dict[str, str]]) -> None:
        self._records = records
        self._index = TitleIndex([record["title"] for record in records], self.likeness)

    @property
    def item_records(self) -> Sequence[Mapping[str, str]]:
        """The items' fields that prompts and lists of candidates show."""
        self.require_fitted()
        assert self._records is not None
        return self._records

    @contextlib.contextmanager
    def other_texts(self, records: Sequence[Mapping[str, str]]) -> Iterator[None]:
        """Score with other words for the items within the block; worked examples stay."""
        own = [dict(record) for record in self.item_records]
        self._know([dict(record) for record in records])
        try:
            yield
        finally:
            self._know(own)

    def require_fitted(self) -> None:
        if self._records is None:
            raise RunError("this hosted language model is not fitted yet: call fit first, or load")

    def save_state(self, folder: Path) -> None:
        write_json(folder / "state.json", {"items": self._records, "examples": self._examples})

    def load_state(self, folder: Path) -> None:
        state = read_json(folder / "state.json")
        self._know(state["items"])
        self._examples = state["examples"]

    def take_counts(self) -> dict[str, float]:
        """Return what was wrong with the answers since the last call, as counts and shares."""
        facts, self._facts = self._facts, {}
        asked = facts.get("answers", 0)
        if not asked:
            return {}
        counts: dict[str, float] = {"answers": asked, "cut_prompts": facts.get("cut_prompts", 0)}
        if self.mode == "score":
            return {**counts, "unanswered_rate": facts["invalid"] / asked}
        named = facts["named"]
        counts["generated" if self.mode == "generate" else "named"] = named
        counts |= {f"{key}_rate": facts[key] / max(1, named) for key in ("invalid", "duplicate")}
        if self.mode == "rank":
            counts["missing_rate"] = facts["missing"] / facts["listed"]
        return {**counts, "cut_answers": facts["cut"]}

    def endpoint_usage(self) -> dict[str, Any]:
        """Return requests, tokens and money of this process so far, for the table of costs."""
        usage: dict[str, Any] = self._backbone.usage()
        return usage

    # what is asked

    def score_all(self, queries: Queries) -> np.ndarray:
        return self.score(queries)

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        assert self._records is not None
        n_items = len(self._records)
        if self.mode == "generate":
            scores = self._generated(queries)
            if items is None:
                return scores
            return np.take_along_axis(scores, np.maximum(items, 0), axis=1)
        if items is None:
            items = np.broadcast_to(np.arange(n_items), (len(queries), n_items))
            self._refuse_catalogue(queries, items)
        rated = self._scored if self.mode == "score" else self._ranked
        return rated(queries, np.asarray(items))

    def _refuse_catalogue(self, queries: Queries, items: np.ndarray) -> None:
        """Refuse to score a whole catalogue that was not asked for, or is beyond the limits.

        Raises:
            RunError: with the number of requests and the estimated price.
        """
        if not len(queries):
            return
        chat = self._backbone.chat
        n = items.size if self.mode == "score" else len(items) * self.n_orders
        some = queries.take(slice(0, 4))
        places = items[: len(some)] if self.mode == "rank" else items[: len(some), :8]
        facts = dict(self._facts)
        bodies = self.requests(some, places)
        self._facts = facts  # these prompts are not sent
        read = n * float(np.mean([likely_tokens(body) for body in bodies]))
        written = n * float(np.mean([most_output(body) for body in bodies]))
        if not self.full_catalogue:
            raise RunError(
                f"scoring the whole catalogue of {items.shape[1]:,} items for {len(queries):,} "
                f"users takes {estimate_text(chat.limits, n, read, written)}; re-rank the "
                "candidates of a retriever, judge with evaluation.candidates.name=sampled, or "
                "set model.full_catalogue=true"
            )
        if n > chat.limits.max_requests:  # before millions of prompts are written
            chat.refuse(n, read, written)

    def _scored(self, queries: Queries, items: np.ndarray) -> np.ndarray:
        """Return (B, C) log-odds of a like, 0 where the answer is neither."""
        bodies = self.requests(queries, items)
        values = np.zeros(len(bodies), np.float32)
        for row, reply in enumerate(self._backbone.complete(bodies, self._accept)):
            if self.answer == "number":
                value = number_log_odds(reply.text)
            else:
                assert reply.first is not None
                value = log_odds(reply.first, self.yes, self.no)
            self._count(answers=1, invalid=value is None)
            values[row] = 0.0 if value is None else value
        scores = np.zeros(items.shape, np.float32)
        scores[items >= 0] = values
        return scores

    def _accept(self, reply: Reply) -> None:
        """Stop at the first reply without what a score is made of.

        Raises:
            ComponentError: that says what to ask instead.
        """
        if self.answer == "logprobs" and reply.first is None:
            raise ComponentError(
                f"{self._backbone.weights} gives no log-probabilities, which mode=score compares; "
                "set answer=number, which asks for a number from 0 to 100, or mode=rank"
            )

    def _ranked(self, queries: Queries, items: np.ndarray) -> np.ndarray:
        """Return (B, C) scores above 0 for named candidates, best highest; 0 for the others."""
        scores = np.zeros(items.shape, np.float64)
        replies = iter(self._backbone.complete(self.requests(queries, items)))
        for row, shown in self._shown(queries, items):
            titles = self._titles(items[row, shown])
            reply = next(replies)
            index = TitleIndex(titles, self.likeness)
            order, invalid, repeated = parse_ranking(reply.text, index)
            self._count(
                answers=1,
                named=len(order) + invalid + repeated,
                invalid=invalid,
                duplicate=repeated,
                missing=len(titles) - len(order),
                listed=len(titles),
                cut=reply.finish == "length",
            )
            points = (len(titles) - np.arange(len(order))) / len(titles)
            scores[row, shown[order]] += points / self.n_orders
        return scores.astype(np.float32)

    def _generated(self, queries: Queries) -> np.ndarray:
        """Return (B, n_items) scores: the first title highest, 0 for items not named."""
        assert self._records is not None
        assert self._index is not None
        scores = np.zeros((len(queries), len(self._records)), np.float32)
        bodies = self.requests(queries, np.empty((len(queries), 0), np.int64))
        for row, reply in enumerate(self._backbone.complete(bodies)):
            found, n, invalid, repeated = parse_titles(reply.text, self._index, self.n_titles)
            cut = reply.finish == "length"
            self._count(answers=1, named=n, invalid=invalid, duplicate=repeated, cut=cut)
            scores[row, found] = np.arange(self.n_titles, self.n_titles - len(found), -1)
        return scores

    def requests(self, queries: Queries, items: np.ndarray) -> list[dict[str, Any]]:
        """Return the requests of a block, in order of rows (and orders, or candidates).

        Args:
            queries: B queries.
            items: (B, C) candidates, −1 for an empty place; mode generate reads none.
        """
        if self.mode == "score":
            rows, columns = np.nonzero(items >= 0)
            questions = self._render(queries, rows, items[rows, columns])
            return [self._body(question, self._instructed()) for question in questions]
        histories = self._render(queries, np.arange(len(queries)), None)
        if self.mode == "generate":
            return [self._body(history, self._instructed()) for history in histories]
        bodies = []
        for row, shown in self._shown(queries, items):
            titles = self._titles(items[row, shown])
            bodies.append(self._body(self._listing(histories[row], titles), "", len(titles)))
        return bodies

    def _shown(self, queries: Queries, items: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Return (row, columns in the order they are shown), `n_orders` times per row.

        The order is pseudo-random, fixed per user and item, so that it says nothing.

        Raises:
            ComponentError: if a row has more candidates than one prompt may.
        """
        salts = [derive_seed(self.seed, "order", n) for n in range(self.n_orders)]
        found = []
        for row, places in enumerate(items):
            columns = np.flatnonzero(places >= 0)
            if len(columns) > self.max_candidates:
                raise ComponentError(
                    f"{len(columns):,} candidates are too many for one prompt (max_candidates="
                    f"{self.max_candidates}); let a retriever choose fewer, judge with "
                    "evaluation.candidates.n=20, or raise max_candidates"
                )
            for salt in salts if len(columns) else []:
                keys = hash_pairs(queries.users[row], places[columns], salt)
                found.append((row, columns[np.lexsort((places[columns], keys))]))
        return found

    def _render(
        self, queries: Queries, rows: np.ndarray, candidates: np.ndarray | None
    ) -> list[str]:
        """Return the text of each row's history (and question), no longer than the prompt may."""
        assert self._records is not None
        histories = queries.histories.take(rows).tail(self._prompt.history_length)
        ratings = None if queries.ratings is None else queries.ratings.take(rows)
        if ratings is not None:
            ratings = ratings.tail(self._prompt.history_length)
        texts = self._prompt.render(self._records, histories, ratings, candidates)
        longest = CHARACTERS_PER_TOKEN * self._prompt.max_length
        for row in [row for row, text in enumerate(texts) if len(text) > longest]:
            self._count(cut_prompts=1)
            one = slice(row, row + 1)
            asked = None if candidates is None else candidates[one]
            for n in reversed(range(int(histories.lengths[row]))):
                less = None if ratings is None else ratings.take(one).tail(n)
                kept = histories.take(one).tail(n)
                texts[row : row + 1] = self._prompt.render(self._records, kept, less, asked)
                if len(texts[row]) <= longest:
                    break
        return list(texts)

    def _titles(self, items: Sequence[int] | np.ndarray) -> list[str]:
        assert self._records is not None
        return [self._records[int(item)]["title"] for item in items]

    def _instructed(self) -> str:
        key = f"score {self.answer}" if self.mode == "score" else self.mode
        if self.instruction is not None:
            return self.instruction
        return INSTRUCTIONS[key].format(yes=self.yes, no=self.no, n_titles=self.n_titles)

    def _listing(self, history: str, titles: Sequence[str]) -> str:
        return f"{history}\n\nCandidates:\n{listed(titles)}\n\n{self._instructed()}"

    def _body(self, text: str, instruction: str, n_listed: int = 0) -> dict[str, Any]:
        question = f"{text}\n{instruction}" if instruction else text
        messages = talk(self.system, self._examples, question)
        fields: dict[str, Any] = {"max_tokens": 64 + 16 * n_listed}
        if self.mode == "generate":
            fields = {"max_tokens": 64 + 32 * self.n_titles}
        elif self.mode == "score":
            fields = {"max_tokens": 8}
            if self.answer == "logprobs":
                fields = {"max_tokens": 1, "logprobs": True, "top_logprobs": MOST_LOGPROBS}
        body: dict[str, Any] = self._backbone.body(messages, **fields)
        return body

    def _worked(self, shown: Shown) -> dict[str, str]:
        """Return a worked example as the question that is asked and the answer it should get."""
        queries = Queries(
            np.zeros(1, np.int64),
            Ragged.from_rows([shown.history]),
            None if shown.ratings is None else Ragged.from_rows([shown.ratings], np.float32),
        )
        row = np.zeros(1, np.int64)
        if self.mode == "score":
            (text,) = self._render(queries, row, shown.items[:1])
            words = ("100", "0") if self.answer == "number" else (self.yes, self.no)
            return {
                "question": f"{text}\n{self._instructed()}",
                "answer": words[0] if shown.liked else words[1],
            }
        (text,) = self._render(queries, row, None)
        if self.mode == "generate":
            return {
                "question": f"{text}\n{self._instructed()}",
                "answer": "\n".join(self._titles(shown.items)),
            }
        best = " > ".join(f"[{place + 1}]" for place in shown.order)
        return {"question": self._listing(text, self._titles(shown.items)), "answer": best}

    def _count(self, **more: int) -> None:
        for key, value in more.items():
            self._facts[key] = self._facts.get(key, 0) + int(value)
