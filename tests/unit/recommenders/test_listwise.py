"""A list of candidates in one prompt: letters, orders, training lists and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, ConfigError, DataError
from llmrec.core.types import Queries
from llmrec.prompts.text import Text
from llmrec.recommenders import listwise
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.fitting import training_batches
from llmrec.recommenders.identifiers import answer_tokens
from llmrec.recommenders.scoring import score
from llmrec.testing import RecommenderConformance

QUESTION = (
    "Choose: {% for i in candidates %}({{ i.letter }}) {{ i.title }}; {% endfor %}The next is"
)
N_ITEMS = len(lm_cases.TITLES)


def spec(name: str = "gpt2", adapter: str = "full", **options: Any) -> dict[str, Any]:
    made = lm_cases.spec(name, adapter, prompt="text", epochs=options.pop("epochs", 1))
    made["head"] = {"name": "listwise", "list_size": 4, **options.pop("head", {})}
    made["prompt"] = {"name": "text", "question": QUESTION, "max_length": 120, "history_length": 3}
    made["backbone"] = {**made["backbone"], **options.pop("backbone", {})}
    return {**made, **options}


def fitted(**options: Any) -> Any:
    split = lm_cases.split()
    model = listwise_model(**options)
    return model.fit(split.train, split.valid)


def listwise_model(**options: Any) -> Any:
    return build("recommender", spec(**options), seed=1)


class TestListwiseConformance(RecommenderConformance):
    recommender = spec()
    personalised = False  # one epoch teaches nothing: the contract alone is tested
    candidates_agree = False
    tolerance = 1e-4

    def test_a_catalogue_of_one_item(self) -> None:
        from llmrec.core.errors import RunError

        with pytest.raises(RunError, match="no user has two interactions"):
            super().test_a_catalogue_of_one_item()


@pytest.mark.parametrize(("name", "adapter"), [("bert", "lora"), ("t5", "full")])
def test_other_backbones_choose_too(name: str, adapter: str, tmp_path: Path) -> None:
    model = fitted(name=name, adapter=adapter)
    scores = model.score(lm_cases.queries())
    assert np.isfinite(scores).all()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        load_recommender(tmp_path / "model").score(lm_cases.queries()), scores
    )


def test_the_prompt_names_the_candidates_with_letters() -> None:
    text = Text(template="{{ history | length }}.", question=QUESTION)
    items = [{"title": title} for title in lm_cases.TITLES]
    queries = lm_cases.queries().take(slice(0, 2))
    lists = np.array([[3, 0, -1], [5, 6, 7]])
    assert text.render(items, queries.histories, None, lists) == [
        f"{len(queries.histories[0].tolist()[-10:])}. Choose: (A) Red River; (B) Red Fox; "
        "The next is",
        f"{len(queries.histories[1].tolist()[-10:])}. Choose: (A) Night Owl; (B) Golden Fox; "
        "(C) The Silent Train; The next is",
    ]


def test_a_list_is_scored_by_the_letters_of_one_prompt() -> None:
    model = fitted(backbone={"initializer_range": 0.3})
    net, batches = model._model.net.eval(), model._model.batches
    queries = lm_cases.queries().take(slice(0, 3))
    items = np.array([[1, 2, 3, 4], [5, 0, -1, 7], [8, 6, 2, 0]])
    scores = model.score(queries, items)
    for row in range(3):
        last = queries.histories[row][-1:]
        listed = [item for item in items[row].tolist() if item >= 0]
        seed = listwise.derive_seed(listwise.ORDER_SEED, 0)
        keys = [int(listwise.hash_pairs(last, np.array([i]), seed)[0]) for i in listed]
        order = [item for _, item in sorted(zip(keys, listed, strict=True))]
        one = queries.take(np.array([row]))
        tokens = batches.tokens(one.histories, one.ratings, np.array([order]))
        with torch.inference_mode():
            logits = net.model(input_ids=torch.from_numpy(tokens.values)[None]).logits[0, -1]
        letters = [
            batches.tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][-1]
            for letter in "ABCD"[: len(order)]
        ]
        expected = dict(zip(order, logits[letters].log_softmax(0).tolist(), strict=True))
        for place, item in enumerate(items[row].tolist()):
            if item >= 0:
                assert scores[row, place] == pytest.approx(expected[item], abs=1e-4)


def test_the_order_in_which_candidates_are_given_says_nothing() -> None:
    model = fitted(head={"permutations": 2}, backbone={"initializer_range": 0.3})
    queries = lm_cases.queries()
    items = np.tile([0, 3, 5, 8], (len(queries), 1))
    scores = model.score(queries, items)
    back = model.score(queries, items[:, ::-1])
    np.testing.assert_allclose(back[:, ::-1], scores, rtol=1e-5, atol=1e-6)
    strangers = Queries(np.full(len(queries), -1), queries.histories, queries.ratings)
    np.testing.assert_allclose(model.score(strangers, items), scores, rtol=1e-5, atol=1e-6)


def test_several_orders_are_averaged() -> None:
    model = fitted(head={"permutations": 3}, backbone={"initializer_range": 0.3})
    queries = lm_cases.queries()
    items = np.tile([0, 3, 5, 8], (len(queries), 1))
    averaged = model.score(queries, items)
    single = []
    for number in range(3):
        model._head.permutations = 1
        offset = listwise.derive_seed(listwise.ORDER_SEED, number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listwise, "derive_seed", lambda *_, offset=offset: offset)
            single.append(model.score(queries, items))
    assert np.abs(single[0] - single[1]).max() > 1e-3
    np.testing.assert_allclose(np.mean(single, axis=0), averaged, rtol=1e-4, atol=1e-5)


def test_a_long_list_is_divided_and_batches_change_nothing() -> None:
    model = fitted(backbone={"initializer_range": 0.3})
    queries = lm_cases.queries()
    whole = model.score(queries)
    assert whole.shape == (len(queries), N_ITEMS)
    # Ten items in three lists: the probabilities of each list sum to 1.
    np.testing.assert_allclose(np.exp(whole).sum(1), 3, rtol=1e-4)
    for size in (1, 5):
        some = score(model._model, queries, None, size)
        np.testing.assert_allclose(some, whole, rtol=1e-4, atol=1e-5)


def collator(model: Any) -> listwise.ListCollator:
    train = lm_cases.split().train
    model._model = assemble(model, train)
    made = training_batches(model, model._model, train)[1]
    assert isinstance(made, listwise.ListCollator)
    return made


def drawn(made: listwise.ListCollator, numbers: list[int], monkeypatch: Any) -> tuple[Any, Any]:
    seen: list[np.ndarray] = []
    whole = type(made.batches).tokens_and_cuts

    def watched(self, histories, ratings, lists):
        seen.append(lists)
        return whole(self, histories, ratings, lists)

    monkeypatch.setattr(type(made.batches), "tokens_and_cuts", watched)
    return made(numbers), seen[-1]


def test_training_lists_hold_the_true_item_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made = collator(listwise_model())
    numbers = list(range(len(made.examples)))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        batch, lists = drawn(made, numbers, monkeypatch)
        _, other = drawn(made, numbers, monkeypatch)
        torch.manual_seed(3)
        _, again = drawn(made, numbers, monkeypatch)
    truth = made.examples.items[made.examples.targets]
    np.testing.assert_array_equal(lists[np.arange(len(lists)), batch["targets"]], truth)
    np.testing.assert_array_equal(lists, again)
    assert not np.array_equal(lists, other)
    assert len(np.unique(batch["targets"])) > 1  # the place says nothing
    known = lm_cases.split().train.item_counts > 0
    histories, _ = made.examples.histories(np.array(numbers))
    for row, history, own in zip(lists, histories, truth.tolist(), strict=True):
        assert len(set(row.tolist())) == 4
        assert known[row].all()
        assert not (set(row.tolist()) - {own}) & set(history.tolist())


def test_a_retriever_gives_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    model = listwise_model()
    model.learn_from(lambda queries: np.tile([8, 7, 6, 5, 4], (len(queries), 1)))
    made = collator(model)
    with torch.random.fork_rng():
        _, lists = drawn(made, [0, 1, 2], monkeypatch)
    histories, _ = made.examples.histories(np.arange(3))
    truth = made.examples.items[made.examples.targets[:3]]
    for row, history, own in zip(lists, histories, truth, strict=True):
        free = {8, 7, 6, 5, 4} - set(history.tolist()) - {int(own)}
        assert len(set(row.tolist()) & free) == min(3, len(free))
    with pytest.raises(ConfigError, match="only head=listwise"):
        lm_cases.model().learn_from(lambda queries: np.zeros((len(queries), 1)))


def test_popular_items_are_drawn_more_often() -> None:
    pool = np.arange(100)
    shares = np.where(pool < 10, 0.09, 0.1 / 90)
    rng = np.random.default_rng(0)
    none = np.empty(0, np.int64)
    popular = [listwise.Negatives(pool, shares).draw(rng, 3, set(), none) for _ in range(50)]
    even = [listwise.Negatives(pool, None).draw(rng, 3, set(), none) for _ in range(50)]
    assert (np.array(popular) < 10).mean() > 0.7
    assert (np.array(even) < 10).mean() < 0.3


def test_it_learns_to_pick() -> None:
    # Whatever came before, what comes next is one of the last two items.
    train = lm_cases.dataset([[u % 6, 6 + u % 2] for u in range(48)], 8)
    model = listwise_model(
        epochs=40,
        batch_size=16,
        learning_rate=0.02,
        backbone={"dropout": 0.0, "attention_dropout": 0.0, "hidden_size": 32},
    ).fit(train)
    rng = np.random.default_rng(0)
    items = np.array([rng.permutation([6 + n % 2, *rng.permutation(6)[:3]]) for n in range(40)])
    chosen = model.score(Queries.from_histories([[n % 6] for n in range(40)]), items).argmax(1)
    assert (items[np.arange(40), chosen] >= 6).mean() > 0.6  # 0.25 by chance


@pytest.mark.parametrize(
    ("head", "prompt", "what"),
    [
        ({"name": "listwise"}, {"name": "text"}, "does not name `candidates`"),
        ({"name": "listwise"}, lm_cases.PROMPTS["items"], "prompt=items has no words"),
        (lm_cases.HEADS["yes_no"], {"name": "text", "question": QUESTION}, "judges one candidate"),
    ],
)
def test_what_does_not_fit_is_refused(head: dict, prompt: dict, what: str) -> None:
    (problem,) = check("recommender", {**lm_cases.spec(), "head": head, "prompt": prompt})
    assert problem.where == "head"
    assert what in problem.what


def test_options_out_of_range_are_refused() -> None:
    for options in ({"list_size": 1}, {"list_size": 27}, {"permutations": 0}):
        assert check("head", {"name": "listwise", **options})
    both = {"name": "text", "question": "{{ candidate.title }} {{ candidates }}"}
    assert check("prompt", both)[0].where == "question"


def test_answers_that_begin_alike_are_refused() -> None:
    class Alike:
        unk_token_id = None

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [5]}

        def decode(self, tokens: list[int]) -> str:
            return "x"

    head = listwise_model()._head
    with pytest.raises(ComponentError, match='" A" and " B" begin with the same token'):
        answer_tokens(Alike(), head.answers([]))


def test_a_long_prompt_loses_its_history_alone_and_is_counted() -> None:
    assert fitted(head={"list_size": 2}).info.details["prompts_cut"] == 0
    whole = fitted()
    batches = whole._model.batches
    lists = np.tile([0, 3, 5, 8], (2, 1))
    queries = lm_cases.queries().take(slice(0, 2))
    (first, _), _ = batches.prompt.parts(batches.items, queries.histories, None, lists)
    (shown,) = batches.tokenizer([first], add_special_tokens=False)["input_ids"]
    long = max(len(row) for row in batches.tokens(queries.histories, None, lists))
    made = spec(epochs=2)
    made["prompt"]["max_length"] = long - len(shown) + 8
    split = lm_cases.split()
    details = build("recommender", made, seed=1).fit(split.train, split.valid).info.details
    assert 0 < details["prompts_cut"] <= details["n_examples"]


def test_lists_that_do_not_fit_are_refused_before_training() -> None:
    made = spec()
    made["prompt"]["max_length"] = 20
    split = lm_cases.split()
    with pytest.raises(DataError, match=r"which leaves 20; .* lower head\.list_size"):
        build("recommender", made, seed=1).fit(split.train, split.valid)
    made["prompt"]["max_length"] = 120
    model = build("recommender", made, seed=1).fit(split.train, split.valid)
    model._model.batches.prompt.max_length = 20
    with pytest.raises(DataError, match=r'a question of \d+ tokens, "Choose: \(A\)'):
        model.score(lm_cases.queries())
