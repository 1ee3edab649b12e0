"""Beam search under a trie: the best identifiers of each row, and nothing else."""

from __future__ import annotations

import math
from typing import Protocol

import torch

from llmrec.heads.trie import IdentifierTrie

LOG2_E = math.log2(math.e)
# Logits that are in memory at once, as numbers.
LOGITS_AT_ONCE = 2**20
# All that is below the beams is read at once if these are so many times the tokens, at most, that
# would be read step by step, and so many tokens of all rows.
READ_AHEAD, READ_AT_ONCE = 1.5, 2**15


class Writer(Protocol):
    """A model in the middle of writing: B rows, several beams each.

    Attributes:
        vocabulary_size: logits of each state.
    """

    vocabulary_size: int

    def start(self) -> torch.Tensor:
        """Return (B, 1, H) states that the first token to write is predicted from."""
        ...

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Return (B, n, H) states after the (B, n) tokens, each added to the beam of its parent.

        Args:
            tokens: token ids.
            parents: (B, n) numbers of beams of the last step (0 after `start`).
        """
        ...

    def read(self, tokens: torch.Tensor, parents: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return (B, T, H) states after T tokens side by side; nothing can be read after this.

        Args:
            tokens: (B, T) token ids.
            parents: (B, T) numbers of the beams of the last step that they go on from.
            own: (B, T, T) bool: which of these tokens come before each, itself included.
        """
        ...

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return (…, V) logits of the (…, H) states, which nobody else holds."""
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
        self.below = torch.from_numpy(trie.below).to(device)
        self.height = torch.from_numpy(trie.height).to(device)
        self.forced = torch.from_numpy(trie.forced).to(device)
        self.order = torch.from_numpy(trie.order).to(device)
        self.place = torch.from_numpy(trie.place).to(device)
        self.nowhere = len(trie.leaf) - 1  # the last node of the last level is a leaf

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


class _Ahead:
    """All that can still be written, read by the model in one pass.

    What is below the beams is a forest of few tokens as soon as their beginnings tell the titles
    apart. It lies side by side in the row, depth first, each token seeing those above it.

    Args:
        writer: the model, at its last step.
        trie: of the identifiers.
        nodes: (B, n) node of each beam, whose token the model has not read yet; leaves count for
            nothing.
        parents: (B, n) numbers of the beams of the last step that these go on from.
    """

    def __init__(
        self, writer: Writer, trie: TrieArrays, nodes: torch.Tensor, parents: torch.Tensor
    ) -> None:
        self.trie = trie
        ends = trie.below[nodes].cumsum(1)
        totals = ends[:, -1:]
        slots = torch.arange(int(totals.max()), device=nodes.device).repeat(len(nodes), 1)
        real = slots < totals
        # The beam that each token is below, and from a token's slot to its place in the order.
        beam = torch.searchsorted(ends, slots, right=True).clamp(max=nodes.shape[1] - 1)
        moved = trie.place[nodes] - (ends - trie.below[nodes])
        place = moved.gather(1, beam) + slots
        inside = trie.order[torch.where(real, place, 0)].long()
        end = slots + torch.where(real, trie.below[inside], 1)  # of what is below each token
        own = (slots.unsqueeze(2) < end.unsqueeze(1)).tril_()
        tokens = torch.where(real, trie.tokens[(inside - 1).clamp(min=0)], 0)
        states = writer.read(tokens, parents.gather(1, beam), own)
        following, _, possible = trie.follow(inside[real].unsqueeze(0))
        self.table = _steps(writer, states[real].unsqueeze(0), following, possible)[0]
        # Rows of the table, those of a row of the batch one after another.
        self.moved = totals.cumsum(0) - totals - moved
        # On a way that does not part, what follows a token is the next row.
        sums = self.table[:, 0].double().cumsum(0)
        self.sums = torch.cat([sums.new_zeros(1), sums])

    def steps(self, nodes: torch.Tensor, width: int) -> torch.Tensor:
        """Return the (B, n, width) log-probabilities of what may follow each of the nodes."""
        return self.table[self._rows(nodes), :width]

    def ends(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return where (B, n) nodes lead to, if none of the ways parts.

        Returns:
            (B, n) leaf numbers, and (B, n) log-probabilities of all that leads there.
        """
        trie, length = self.trie, self.trie.below[nodes]
        if not trie.forced[nodes].all():
            return None
        rows = self._rows(nodes)
        last = trie.order[(trie.place[nodes] + length - 1).clamp(min=0)].long()
        return trie.leaf[trie.starts[last] + 1], (
            self.sums[rows + length] - self.sums[rows]
        ).float()

    def _rows(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return the (B, n) rows of the table that are about nodes; any for a leaf."""
        return torch.where(self.trie.below[nodes] > 0, self.moved + self.trie.place[nodes], 0)

    def go_on(self, parents: torch.Tensor) -> None:
        """Go on with (B, n) beams, given by the number of the parent of each."""
        self.moved = self.moved.gather(1, parents)


@torch.inference_mode()
def beam_search(
    writer: Writer, trie: TrieArrays, n_beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the leaves of the best beams and their log-probabilities.

    The same search as transformers' ``generate`` with ``length_penalty=0``,
    ``early_stopping=False`` and a ``prefix_allowed_tokens_fn``: token log-probabilities are
    normalised over the whole vocabulary and then masked; of the best 2 × `n_beams` continuations
    the finished ones among the first `n_beams` are kept, the best unfinished ones go on. Only the
    allowed tokens are looked at, so that a step costs the same in any catalogue. The model reads
    step by step until what is left below the beams is little; then it reads all of that at once,
    and the search goes on from a table.

    Args:
        writer: the model, having read the prompts.
        trie: of the identifiers.
        n_beams: beams of each row.

    Returns:
        (B, n_beams) leaf numbers, best first, −1 for a beam that ended nowhere; (B, n_beams)
        float32 scores, −inf there.
    """
    states = writer.start()
    device, n_rows = states.device, len(states)
    nodes = torch.zeros(n_rows, 1, dtype=torch.long, device=device)
    scores = torch.zeros(n_rows, 1, device=device)
    finished = torch.full((n_rows, n_beams), -torch.inf, device=device)
    leaves = torch.full((n_rows, n_beams), -1, device=device)
    ahead: _Ahead | None = None
    for _ in range(trie.depth):
        tokens, children, real = trie.follow(nodes)
        width = tokens.shape[2]
        steps = ahead.steps(nodes, width) if ahead else _steps(writer, states, tokens, real)
        totals = (scores.unsqueeze(-1) + steps).flatten(1)
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
        # Scores only fall: what is not above the last of the finished ones is out of the race.
        scores = scores.masked_fill(scores <= finished[:, -1:], -torch.inf)
        # Sorted, so that the beams that can go on are the first ones.
        n_alive = int(scores.isfinite().sum(1).max())
        if not n_alive:
            break
        scores, kept = scores[:, :n_alive], kept[:, :n_alive]
        nodes = torch.where(scores.isfinite(), nodes.gather(1, kept), trie.nowhere)
        parents = places.gather(1, kept) // width
        if ahead:
            ahead.go_on(parents)
        elif _is_little(trie, nodes):
            ahead = _Ahead(writer, trie, nodes, parents)
        else:
            states = writer.step(tokens.gather(1, kept), parents)
        if ahead and (found := ahead.ends(nodes)):
            # One continuation for each beam: none puts another one out of the race.
            leaf, steps = found
            finished, kept = torch.cat([finished, scores + steps], 1).topk(n_beams)
            leaves = torch.cat([leaves, leaf], 1).gather(1, kept)
            break
    return leaves.masked_fill(finished.isneginf(), -1), finished


def _is_little(trie: TrieArrays, nodes: torch.Tensor) -> bool:
    """Return whether all that is below the (B, n) nodes may as well be read at once."""
    # As many for each row as for that with the most.
    tokens = int(trie.below[nodes].sum(1).max()) * len(nodes)
    return tokens <= min(READ_AT_ONCE, READ_AHEAD * int(trie.height[nodes].sum()))


def _steps(
    writer: Writer, states: torch.Tensor, tokens: torch.Tensor, real: torch.Tensor
) -> torch.Tensor:
    """Return (B, n, W) float32 log-probabilities of tokens after (B, n, H) states.

    Args:
        writer: gives the logits.
        states: of the model.
        tokens: (B, n, W) token ids.
        real: (B, n, W) bool; −inf elsewhere.
    """
    at_once = max(1, LOGITS_AT_ONCE // writer.vocabulary_size)
    parts = zip(
        states.flatten(0, 1).split(at_once), tokens.flatten(0, 1).split(at_once), strict=True
    )
    found = [_log_probabilities(writer.logits(part).float(), asked) for part, asked in parts]
    return torch.cat(found).view_as(tokens).masked_fill(~real, -torch.inf)


def _log_probabilities(logits: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Return the (N, W) log-probabilities of the tokens `asked` for; (N, V) logits are used up."""
    top = logits.amax(1, keepdim=True)
    wanted = logits.gather(1, asked) - top
    # In place, by powers of two, and without numbers near 0, which CPUs are slow at: 2**-100 adds
    # nothing to a sum that is above 1.
    logits.sub_(top).mul_(LOG2_E).clamp_(min=-100).exp2_()
    return wanted - logits.sum(1, keepdim=True).log_()


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
    logits = writer.logits(writer.start())
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
        logits = writer.logits(writer.step(tokens.gather(1, kept), parents.gather(1, kept)))
    return written, finished


def _gathered(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return rows.gather(1, places.unsqueeze(-1).expand(-1, -1, rows.shape[2]))
