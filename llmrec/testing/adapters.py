"""The contract of an adapter as tests that anybody can inherit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from llmrec.core.config import BackboneSpec, build, check, options_of
from llmrec.core.errors import ComponentError
from llmrec.core.extras import require

TINY: BackboneSpec = {
    "name": "gpt2",
    "hidden_size": 16,
    "n_heads": 2,
    "n_layers": 1,
    "max_positions": 32,
}


class AdapterConformance:
    """Inherit it in a class named ``Test…``, name a spec, and pytest runs the contract.

    Attributes:
        adapter: the spec under test.
        backbone: the spec of the backbone that it is tried on, randomly initialised.
    """

    adapter: ClassVar[Mapping[str, Any]]
    backbone: ClassVar[BackboneSpec] = TINY

    # what tests share

    @classmethod
    def make(cls) -> Any:
        """Return the component."""
        return build("adapter", cls.adapter)

    @classmethod
    def base(cls, folder: Path) -> Any:
        """Return a freshly loaded model, always with the same weights, kept in `folder`."""
        torch = require("torch", "lm", "the conformance suite")
        part = build("backbone", cls.backbone)
        if not folder.is_dir():
            with torch.random.fork_rng():
                torch.manual_seed(0)
                part.load("sequence").save_pretrained(folder)
        return part.load("sequence", folder=folder, load_options=cls.make().load_options())

    @classmethod
    def wrapped(cls, folder: Path) -> Any:
        """Return the base model with the adapter in it; `trained` changes its weights."""
        torch = require("torch", "lm", "the conformance suite")
        with torch.random.fork_rng():
            torch.manual_seed(1)
            part = build("backbone", cls.backbone)
            base = cls.base(folder)
            return cls.make().wrap(base, part.adapted_as(base))

    @classmethod
    def trained(cls, model: Any) -> Any:
        """Return the model with every trainable weight moved a little."""
        torch = require("torch", "lm", "the conformance suite")
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(2)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
        return model

    @classmethod
    def outputs(cls, model: Any) -> Any:
        """Return the states of a fixed input."""
        torch = require("torch", "lm", "the conformance suite")
        part = build("backbone", cls.backbone)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(3)
            given = torch.randn(2, 5, part.width(model))
            mask = torch.ones(2, 5, dtype=torch.bool)
            return part.encode(model.eval(), mask, embeddings=given).tokens.clone()

    # the contract

    def test_the_spec_is_valid_and_every_option_is_kept(self) -> None:
        assert check("adapter", self.adapter) == []
        made = self.make()
        assert all(hasattr(made, name) for name in options_of(type(made)))

    def test_what_trains_is_what_it_announces(self, tmp_path: Path) -> None:
        made, model = self.make(), self.wrapped(tmp_path / "base")
        trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        assert bool(trainable) == made.trains
        if made.trains_base:
            base = self.base(tmp_path / "base")
            assert set(trainable) <= {name for name, _ in base.named_parameters()}

    def test_untrained_it_changes_nothing_unless_it_adds_tokens(self, tmp_path: Path) -> None:
        torch = require("torch", "lm", "the conformance suite")
        plain = self.outputs(self.base(tmp_path / "base"))
        wrapped = self.outputs(self.wrapped(tmp_path / "base"))
        if self.make().virtual_tokens:
            assert not torch.allclose(wrapped, plain)  # whatever they are, they are read
        else:
            torch.testing.assert_close(wrapped, plain)

    def test_stored_and_restored_it_gives_the_same_outputs(self, tmp_path: Path) -> None:
        torch = require("torch", "lm", "the conformance suite")
        made = self.make()
        model = self.trained(self.wrapped(tmp_path / "base"))
        expected = self.outputs(model)
        made.save(model, tmp_path / "adapter")
        if made.trains_base:
            model.save_pretrained(tmp_path / "whole")
            part = build("backbone", self.backbone)
            options = made.load_options()
            fresh = part.load("sequence", folder=tmp_path / "whole", load_options=options)
        else:
            fresh = self.base(tmp_path / "base")
        restored = made.restore(fresh, tmp_path / "adapter")
        assert torch.equal(self.outputs(restored), expected)

    def test_training_leaves_the_base_alone_unless_announced(self, tmp_path: Path) -> None:
        torch = require("torch", "lm", "the conformance suite")
        before = self.outputs(self.base(tmp_path / "base"))
        after = self.outputs(self.trained(self.wrapped(tmp_path / "base")))
        assert torch.equal(before, after) != self.make().trains

    def test_weights_that_were_not_stored_are_missed(self, tmp_path: Path) -> None:
        made = self.make()
        if made.trains_base or not made.trains:
            return  # it stores nothing of its own
        pytest = require("pytest", "test", "the conformance suite")
        made.save(self.wrapped(tmp_path / "base"), tmp_path / "adapter")
        for file in sorted((tmp_path / "adapter").rglob("*.safetensors")):
            file.unlink()
        with pytest.raises(ComponentError):
            made.restore(self.base(tmp_path / "base"), tmp_path / "adapter")
