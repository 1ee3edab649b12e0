"""Our beams write what transformers' generate writes under a trie of nested dicts."""

from __future__ import annotations

import dict_trie
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import UMT5Config, UMT5ForConditionalGeneration

from llmrec.backbones.writers import WRITERS
from llmrec.core.config import build
from llmrec.core.types import Ragged
from llmrec.heads import beams
from llmrec.heads.beams import TrieArrays, beam_search, free_beams
from llmrec.heads.trie import IdentifierTrie
from llmrec.training.net import Net

VOCABULARY, END = 40, 3


class Tokens:
    """Stands for a tokenizer: sizes and special tokens."""

    pad_token_id, eos_token_id, bos_token_id = 0, END, 2

    def __len__(self) -> int:
        return VOCABULARY


@pytest.fixture(scope="module", params=["gpt2", "causal", "t5", "t5 gated", "umt5"])
def net(request: pytest.FixtureRequest) -> Net:
    """A random two-layer model whose answers are far from uniform."""
    name = request.param.split()[0].removeprefix("um")
    spec = {
        "name": name,
        "hidden_size": 16,
        "n_heads": 2,
        "n_layers": 2,
        "max_positions": 64,
        "initializer_range": 0.25,
    }
    backbone = build("backbone", spec)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = backbone.load("generate", tokenizer=Tokens())
        if request.param == "t5 gated":  # as Flan-T5: gated feed-forward, output weights of its own
            config = model.config
            config.feed_forward_proj, config.is_gated_act = "gated-gelu", True
            config.dense_act_fn, config.scale_decoder_outputs = "gelu_new", False
            model = type(model)(config)
        if request.param == "umt5":  # a position bias in every layer
            model = UMT5ForConditionalGeneration(UMT5Config(**model.config.to_dict()))
    # In double precision: a random T5 makes logits in the thousands, and their rounding beams tie.
    return Net(backbone, model.double(), torch.nn.Identity(), None, "generate").eval()


def catalogue(seed: int, n: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(4, VOCABULARY, rng.integers(1, 6)).tolist() for _ in range(n)]
    return [*rows, rows[0], rows[1][:1]]


def prompts(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    rows = Ragged.from_rows([rng.integers(4, VOCABULARY, n).tolist() for n in (7, 2, 12)], int)
    mask = np.arange(12)[None, :] < rows.lengths[:, None]
    return torch.from_numpy(rows.padded(fill=0)), torch.from_numpy(mask)


def searched(
    net: Net, ids: torch.Tensor, mask: torch.Tensor, trie: IdentifierTrie, n_beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        writer = WRITERS[net.backbone.direction](net.backbone, net.model, ids, mask)
        return beam_search(writer, TrieArrays(trie, ids.device), n_beams)


def assert_same(
    ours: list[list[int]], scores: torch.Tensor, theirs: list[list[int]], values: torch.Tensor
) -> None:
    """Assert that two searches found the same, best first; those that tie may change places."""
    # Logits of a random T5 are in the thousands: so is what their rounding moves the best beam by.
    near = 1e-4 + 1e-5 * float(values.abs().max()) if len(values) else 0.0
    np.testing.assert_allclose(scores, values, rtol=1e-4, atol=near)
    expected = {tuple(row): float(value) for row, value in zip(theirs, values, strict=True)}
    worst = float(values[-1]) if len(values) else 0.0
    for row, score in zip(ours, scores.tolist(), strict=True):
        assert score == pytest.approx(expected.get(tuple(row), worst), rel=1e-4, abs=near)
    assert len({tuple(row) for row in ours}) == len(ours)


def check_as_transformers(net: Net, identifiers: list[list[int]], n_beams: int, seed: int) -> None:
    """Assert that the sequences and scores are those of transformers' search."""
    ids, mask = prompts(seed)
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    leaves, scores = searched(net, ids, mask, trie, n_beams)
    with torch.inference_mode():
        root = dict_trie.dict_trie(identifiers, END)
        theirs, values = dict_trie.generate(net, Tokens(), ids, mask, root, n_beams)
    for row in range(len(ids)):
        real = [v > -1e8 for v in values[row].tolist()]
        ours = [trie.identifier(leaf).tolist() for leaf in leaves[row].tolist() if leaf >= 0]
        written = [w for w, keep in zip(theirs[row], real, strict=True) if keep]
        assert_same(ours, scores[row][: len(ours)], written, values[row][torch.tensor(real)])
        assert (leaves[row] < 0).sum() == n_beams - len(ours)


@pytest.mark.parametrize("n_beams", [2, 5, 20])
@pytest.mark.parametrize("n_items", [8, 300])
def test_the_same_sequences_and_scores_as_transformers(
    net: Net, n_beams: int, n_items: int
) -> None:
    identifiers = catalogue(n_items, n_items)
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    n_beams = min(n_beams, trie.n_leaves)
    _, scores = searched(net, *prompts(n_beams), trie, n_beams)
    assert scores.std() > 0.3  # or the order would mean little
    check_as_transformers(net, identifiers, n_beams, seed=n_beams)


# Few tokens, so that beginnings are shared; long, so that ends are not.
TRIES = st.lists(
    st.lists(st.integers(4, 8), min_size=1, max_size=9), min_size=1, max_size=30, unique_by=tuple
)


@given(identifiers=TRIES, n_beams=st.integers(2, 9), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_under_any_trie_as_transformers(
    net: Net, identifiers: list[list[int]], n_beams: int, seed: int
) -> None:
    check_as_transformers(net, identifiers, n_beams, seed)


@given(identifiers=TRIES, n_beams=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_read_ahead_or_step_by_step_it_is_the_same_search(
    net: Net, identifiers: list[list[int]], n_beams: int, seed: int
) -> None:
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    found = []
    for read_ahead in (0, 1, 1000):  # never, with few tokens below the beams, after the first step
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(beams, "READ_AHEAD", read_ahead)
            found.append(searched(net, *prompts(seed), trie, n_beams))
    for leaves, scores in found[1:]:
        for row in range(len(leaves)):
            real, expected = leaves[row] >= 0, found[0][0][row] >= 0
            assert_same(
                leaves[row][real].unsqueeze(1).tolist(),
                scores[row][real],
                found[0][0][row][expected].unsqueeze(1).tolist(),
                found[0][1][row][expected],
            )


def test_titles_told_apart_by_their_beginnings_are_read_in_one_pass(net: Net) -> None:
    rng = np.random.default_rng(0)
    identifiers = [[*rng.integers(4, 12, 2).tolist(), *range(13, 30)] for _ in range(200)]
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    writer_class, calls = WRITERS[net.backbone.direction], []

    class Counted(writer_class):
        def read(self, tokens: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            calls.append(tokens.shape[1])
            return super().read(tokens, *rest)

    with torch.inference_mode():
        writer = Counted(net.backbone, net.model, *prompts(0))
        calls.clear()
        beam_search(writer, TrieArrays(trie, torch.device("cpu")), 5)
    assert len(calls) <= 2  # 20 tokens each
    assert max(calls) >= 5 * 18


def test_company_changes_nothing(net: Net) -> None:
    identifiers = catalogue(300, 300)
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    ids, mask = prompts(1)
    leaves, scores = searched(net, ids, mask, trie, 6)
    for row in range(len(ids)):
        n = int(mask[row].sum())
        alone = searched(net, ids[row : row + 1, :n], mask[row : row + 1, :n], trie, 6)
        # The states of a gated T5 grow so large that padding alone moves scores by some 1e-4.
        torch.testing.assert_close(alone[1][0], scores[row], rtol=1e-3, atol=1e-3)
        assert len(set(alone[0][0].tolist()) & set(leaves[row].tolist())) >= 5


def test_one_beam_is_greedy(net: Net) -> None:
    identifiers = catalogue(1, 100)
    ids, mask = prompts(0)
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    leaves, _ = searched(net, ids, mask, trie, 1)
    with torch.inference_mode():
        for row in range(len(ids)):
            written: list[int] = []
            while len(allowed := trie.allowed(written)):
                prompt = ids[row][mask[row]][None]
                if net.backbone.direction == "causal":
                    logits = net.model(
                        torch.cat([prompt, torch.tensor([written]).long()], 1)
                    ).logits
                else:
                    start = torch.tensor([[0, *written]])
                    logits = net.model(input_ids=prompt, decoder_input_ids=start).logits
                written.append(int(allowed[logits[0, -1, allowed].argmax()]))
            assert trie.identifier(int(leaves[row, 0])).tolist() == written


def likelihood(net: Net, prompt: list[int], written: list[int]) -> float:
    """Return the log-probability of tokens after a prompt, by one whole forward pass."""
    with torch.inference_mode():
        if net.backbone.direction == "causal":
            logits = net.model(torch.tensor([[*prompt, *written]])).logits[0, len(prompt) - 1 : -1]
        else:
            before = torch.tensor([[0, *written[:-1]]])
            logits = net.model(input_ids=torch.tensor([prompt]), decoder_input_ids=before).logits[0]
    return float(logits.double().log_softmax(-1)[range(len(written)), written].sum())


@pytest.mark.parametrize("n_beams", [2, 6])
def test_without_a_trie_as_transformers_without_one(net: Net, n_beams: int) -> None:
    ids, mask = prompts(n_beams)
    with torch.inference_mode():
        writer = WRITERS[net.backbone.direction](net.backbone, net.model, ids, mask)
        written, scores = free_beams(writer, END, 7, n_beams)
        theirs, values = dict_trie.generate(
            net, Tokens(), ids, mask, None, n_beams, max_new_tokens=7
        )
    np.testing.assert_allclose(scores, values, rtol=1e-4, atol=1e-4)
    n_same = 0
    for row, beam in np.ndindex(*written.shape[:2]):
        ours = written[row, beam].tolist()
        ours = ours[: ours.index(END) + 1] if END in ours else ours
        n_same += ours == theirs[row][beam]
        # Another sequence is right only if whole forward passes find it as likely: a tie.
        prompt = ids[row][mask[row]].tolist()
        if ours != theirs[row][beam]:
            expected = likelihood(net, prompt, theirs[row][beam])
            assert likelihood(net, prompt, ours) == pytest.approx(expected, rel=1e-5, abs=1e-5)
        # The states of a gated T5 grow so large that padding alone moves scores by some 1e-4.
        assert float(scores[row, beam]) == pytest.approx(
            likelihood(net, prompt, ours), rel=1e-3, abs=1e-3
        )
    assert n_same > scores.numel() / 2
