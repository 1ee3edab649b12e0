"""The contract of a backbone as tests that anybody can inherit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import numpy as np

from llmrec.backbones.base import Direction, Needs
from llmrec.core.config import build, check, options_of
from llmrec.core.extras import require

TITLES = (
    "Red Fox",
    "Blue Owl",
    "The Old River",
    "Night Train 12",
    "A Very Long Quiet Story (1995)",
)


class BackboneConformance:
    """Inherit it in a class named ``Test…``, name a spec, and pytest runs the contract.

    Attributes:
        backbone: the spec under test; choose sizes that load in a moment.
        tolerance: largest difference that padding or another batch may make.
    """

    backbone: ClassVar[Mapping[str, Any]]
    tolerance: ClassVar[float] = 1e-4

    # what tests share

    @classmethod
    def make(cls) -> Any:
        """Return the component."""
        return build("backbone", cls.backbone)

    @classmethod
    def tokenizer(cls) -> Any:
        """Return its tokenizer, made once for all tests of the class."""
        if "_tokenizer" not in cls.__dict__:
            cls._tokenizer = cls.make().tokenizer(list(TITLES))
        return cls._tokenizer

    _tokenizer: ClassVar[Any]

    @classmethod
    def model(cls, needs: str) -> Any:
        """Return the model loaded for a need, once for all tests of the class, not training."""
        if "_models" not in cls.__dict__:
            cls._models = {}
        if needs not in cls._models:
            torch = require("torch", "lm", "the conformance suite")
            with torch.random.fork_rng():
                torch.manual_seed(0)
                cls._models[needs] = cls.make().load(needs, tokenizer=cls.tokenizer()).eval()
        return cls._models[needs]

    _models: ClassVar[dict[str, Any]]

    @classmethod
    def inputs(cls, width: int | None = None) -> tuple[Any, Any]:
        """Return (B, L) ids and mask of the titles, right-padded."""
        torch = require("torch", "lm", "the conformance suite")
        before, after = cls.make().frame(cls.tokenizer(), "pooled")
        rows = cls.tokenizer()(list(TITLES), add_special_tokens=False)["input_ids"]
        rows = [[*before, *row, *after] for row in rows]
        width = width or max(map(len, rows))
        padding = cls.tokenizer().pad_token_id
        ids = torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])
        mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
        return ids, mask

    def close(self, a: Any, b: Any) -> None:
        """Assert that tensors agree up to the tolerance of the class."""
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=self.tolerance, atol=self.tolerance)

    # the config

    def test_the_spec_is_valid_and_every_option_is_kept(self) -> None:
        assert check("backbone", self.backbone) == []
        made = self.make()
        assert all(hasattr(made, name) for name in options_of(type(made)))

    def test_it_says_what_it_is(self) -> None:
        made = self.make()
        assert made.direction in get_args(Direction)
        assert {"pooled"} <= made.provides <= set(get_args(Needs))
        assert made.weights

    # what it gives

    def test_it_loads_for_all_that_it_provides(self) -> None:
        for needs in self.make().provides:
            assert sum(p.numel() for p in self.model(needs).parameters()) > 0

    def test_states_have_the_announced_shapes(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        made, model = self.make(), self.model("pooled")
        ids, mask = self.inputs()
        with torch.inference_mode():
            encoded = made.encode(model, mask, ids=ids)
        assert encoded.tokens.shape == (*ids.shape, made.width(model))
        assert encoded.pooled.shape == (len(ids), made.width(model))
        assert encoded.mask is mask
        assert torch.isfinite(encoded.pooled).all()
        assert torch.isfinite(encoded.tokens[mask]).all()
        assert made.max_tokens(model) >= ids.shape[1]

    def test_rows_differ(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        ids, mask = self.inputs()
        with torch.inference_mode():
            pooled = self.make().encode(self.model("pooled"), mask, ids=ids).pooled
        distances = torch.cdist(pooled, pooled) + torch.eye(len(pooled))
        assert distances.min() > 1e-4

    def test_padding_changes_nothing(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        made, model = self.make(), self.model("pooled")
        ids, mask = self.inputs()
        wide, wide_mask = self.inputs(ids.shape[1] + 7)
        with torch.inference_mode():
            exact = made.encode(model, mask, ids=ids)
            padded = made.encode(model, wide_mask, ids=wide)
        self.close(exact.pooled, padded.pooled)
        self.close(exact.tokens[mask], padded.tokens[wide_mask])

    def test_the_company_in_a_batch_changes_nothing(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        made, model = self.make(), self.model("pooled")
        ids, mask = self.inputs()
        with torch.inference_mode():
            together = made.encode(model, mask, ids=ids).pooled
            for row in range(len(ids)):
                n = int(mask[row].sum())
                one = made.encode(model, mask[row : row + 1, :n], ids=ids[row : row + 1, :n])
                self.close(one.pooled[0], together[row])

    def test_embeddings_may_be_given_instead_of_ids(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        made = self.make()
        if "sequence" not in made.provides:
            return
        model = self.model("sequence")
        mask = torch.ones(2, 3, dtype=torch.bool)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            given = torch.randn(2, 3, made.width(model))
        with torch.inference_mode():
            states = made.encode(model, mask, embeddings=given).tokens
        assert states.shape == (2, 3, made.width(model))
        assert torch.isfinite(states).all()

    def test_answers_have_logits(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        made = self.make()
        if "token_logits" not in made.provides:
            return
        ids, mask = self.inputs()
        answers = torch.tensor([1, 3])
        with torch.inference_mode():
            logits = made.answer_logits(self.model("token_logits"), mask, ids, answers)
        assert logits.shape == (len(ids), 2)
        assert torch.isfinite(logits).all()

    # its tokenizer

    def test_titles_survive_the_tokenizer(self) -> None:
        for title in TITLES:
            ids = self.tokenizer()(title, add_special_tokens=False)["input_ids"]
            back = self.tokenizer().decode(ids)
            assert "".join(back.split()).lower() == "".join(title.split()).lower()

    def test_the_frame_is_made_of_tokens(self) -> None:
        for needs in self.make().provides:
            before, after = self.make().frame(self.tokenizer(), needs)
            assert all(0 <= token < len(self.tokenizer()) for token in [*before, *after])

    def test_random_weights_follow_the_seed_of_the_caller(self) -> None:
        torch = require("torch", "lm", "the conformance suite")
        loaded = []
        with torch.random.fork_rng():
            for seed in (1, 1):
                torch.manual_seed(seed)
                loaded.append(self.make().load("pooled", tokenizer=self.tokenizer()))
        pairs = zip(loaded[0].parameters(), loaded[1].parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
