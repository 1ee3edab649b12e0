"""Beam search under a trie: the best identifiers of each row, and nothing else."""

from __future__ import annotations

from typing import Protocol

import torch

from llmrec.heads.trie import IdentifierTrie


class Writer(Protocol):
    """A model in the middle of writing: B rows, several beams each."""

    def start(self) -> torch.Tensor:
        """Return (B, 1, V) logits of the first token to write."""
        ...

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Return (B, n, V) logits after the (B, n) tokens, each added to the beam of its parent.

        Args:
            tokens: token ids.
            parents: (B, n) numbers of beams of the last step (0 after `start`).
        """
        ...


class TrieArrays:
    """A trie's arrays where the model is.

    Args:
        trie: of identifiers.
        device: of the model.
    """

    def __init__(self, trie: IdentifierTrie, device: torch.device) -> None:
        self.trie = trie
        self.depth = trie.depth
        self.starts = torch.from_numpy(trie.starts).to(device)
        self.tokens = torch.from_numpy(trie.tokens).to(device)
        self.leaf = torch.from_numpy(trie.leaf).to(device)

    def follow(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what may follow: tokens, the nodes they lead to, and which places are real.

        Args:
            nodes: (B, n) node of each beam.

        Returns:
            Three (B, n, W) tensors; W is the widest of these nodes.
        """
        starts = self.starts[nodes]
        counts = self.starts[nodes + 1] - starts
        place = torch.arange(int(counts.max().clamp(min=1)), device=nodes.device)
        edges = starts.unsqueeze(-1) + place
        real = place < counts.unsqueeze(-1)
        edges = torch.where(real, edges, 0)
        return self.tokens[edges], edges + 1, real


@torch.inference_mode()
def beam_search(
    writer: Writer, trie: TrieArrays, n_beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the leaves of the best beams and their log-probabilities.

    The same search as transformers' ``generate`` with ``length_penalty=0``,
    ``early_stopping=False`` and a ``prefix_allowed_tokens_fn``: token log-probabilities are
    normalised over the whole vocabulary and then masked; of the best 2 × `n_beams` continuations
    the finished ones among the first `n_beams` are kept, the best unfinished ones go on. Only the
    allowed tokens are looked at, so that a step costs the same in any catalogue.

    Args:
        writer: the model, having read the prompts.
        trie: of the identifiers.
        n_beams: beams of each row.

    Returns:
        (B, n_beams) leaf numbers, best first, −1 for a beam that ended nowhere; (B, n_beams)
        float32 scores, −inf there.
    """
    logits = writer.start()
    device, n_rows = logits.device, len(logits)
    nodes = torch.zeros(n_rows, 1, dtype=torch.long, device=device)
    scores = torch.zeros(n_rows, 1, device=device)
    finished = torch.full((n_rows, n_beams), -torch.inf, device=device)
    leaves = torch.full((n_rows, n_beams), -1, device=device)
    for _ in range(trie.depth):
        tokens, children, real = trie.follow(nodes)
        logits = logits.float()
        steps = logits.gather(2, tokens) - logits.logsumexp(2, keepdim=True)
        totals = (scores.unsqueeze(-1) + steps).masked_fill(~real, -torch.inf).flatten(1)
        width = tokens.shape[2]
        best, places = totals.topk(min(2 * n_beams, totals.shape[1]))
        nodes, tokens = children.flatten(1).gather(1, places), tokens.flatten(1).gather(1, places)
        leaf = trie.leaf[nodes]
        ends = leaf >= 0
        counted = ends & (torch.arange(len(best[0]), device=device) < n_beams)
        merged = torch.cat([finished, best.masked_fill(~counted, -torch.inf)], 1)
        finished, kept = merged.topk(n_beams)
        leaves = torch.cat([leaves, leaf], 1).gather(1, kept)
        running = best.masked_fill(ends, -torch.inf)
        scores, kept = running.topk(min(n_beams, running.shape[1]))
        if not (scores[:, 0] > finished[:, -1]).any():
            break
        # Sorted, so that the beams that can go on are the first ones.
        alive = slice(int(scores.isfinite().sum(1).max()))
        scores, kept = scores[:, alive], kept[:, alive]
        nodes = nodes.gather(1, kept)
        logits = writer.step(tokens.gather(1, kept), places.gather(1, kept) // width)
    return leaves.masked_fill(finished.isneginf(), -1), finished


@torch.inference_mode()
def free_beams(
    writer: Writer, end: int, longest: int, n_beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the best beams write without a trie, as `beam_search` under none would.

    Args:
        writer: the model, having read the prompts.
        end: the end token.
        longest: tokens of a beam, at most; a longer one is cut.
        n_beams: beams of each row.

    Returns:
        (B, n_beams, longest) token ids, filled up with the end token; (B, n_beams) float32 sums of
        log-probabilities, best first.
    """
    logits = writer.start()
    device, n_rows = logits.device, len(logits)
    rows = torch.full((n_rows, 1, longest), end, device=device)
    scores = torch.zeros(n_rows, 1, device=device)
    finished = torch.full((n_rows, n_beams), -torch.inf, device=device)
    written = torch.full((n_rows, n_beams, longest), end, device=device)
    for place in range(longest):
        size = logits.shape[2]
        totals = (scores.unsqueeze(-1) + logits.float().log_softmax(2)).flatten(1)
        best, places = totals.topk(min(2 * n_beams, totals.shape[1]))
        parents, tokens = places // size, places % size
        rows = _gathered(rows, parents)
        rows[:, :, place] = tokens
        ends = (tokens == end) | (place == longest - 1)
        counted = ends & (torch.arange(len(best[0]), device=device) < n_beams)
        both = torch.cat([finished, best.masked_fill(~counted, -torch.inf)], 1)
        finished, kept = both.topk(n_beams)
        written = _gathered(torch.cat([written, rows], 1), kept)
        scores, kept = best.masked_fill(ends, -torch.inf).topk(min(n_beams, best.shape[1]))
        if place == longest - 1 or not (scores[:, 0] > finished[:, -1]).any():
            break
        rows = _gathered(rows, kept)
        logits = writer.step(tokens.gather(1, kept), parents.gather(1, kept))
    return written, finished


def _gathered(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return rows.gather(1, places.unsqueeze(-1).expand(-1, -1, rows.shape[2]))
