"""RQ-VAE: an autoencoder whose middle is a residual quantiser (Zeghidour et al., 2021)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from llmrec.core.seeding import derive_seed
from llmrec.heads.quantizers import k_means

HIDDEN = (512, 256, 128)
ITERATIONS = 10  # of the k-means that starts a codebook


def perceptron(sizes: list[int]) -> nn.Sequential:
    """Return linear layers of the given widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class _Net(nn.Module):
    def __init__(self, width: int, latent: int, codebook_size: int, n_levels: int) -> None:
        super().__init__()
        self.encoder = perceptron([width, *HIDDEN, latent])
        self.decoder = perceptron([latent, *HIDDEN[::-1], width])
        self.codebooks = nn.Parameter(torch.zeros(n_levels, codebook_size, latent))

    def quantise(self, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the (N, L) codes, the quantised (N, Z), and the loss of codebooks and encoder."""
        rest, codes = latent, []
        whole, loss = torch.zeros_like(latent), latent.new_zeros(())
        for book in self.codebooks:
            code = torch.cdist(rest, book).argmin(1)
            chosen = book[code]
            loss = loss + functional.mse_loss(chosen, rest.detach())
            loss = loss + COMMITMENT * functional.mse_loss(rest, chosen.detach())
            whole, rest = whole + chosen, rest - chosen.detach()
            codes.append(code)
        return torch.stack(codes, 1), whole, loss


COMMITMENT = 0.25


class RQVAE:
    """The quantiser of TIGER (Rajput et al., NeurIPS 2023).

    Vectors are standardised by mean and overall spread. The codebooks start from k-means of the
    encoder's residuals; gradients pass straight through the quantiser; a code that an epoch never
    used moves to a random residual of its level.

    Args:
        codebook_size: codes of each level.
        n_levels: codes of a vector.
        latent_size: width of the quantised vectors.
        epochs: passes over the vectors.
        batch_size: vectors per step.
        learning_rate: of AdamW.
        seed: of weights, starts and order.
    """

    def __init__(
        self,
        codebook_size: int,
        n_levels: int,
        latent_size: int,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        self.codebook_size = codebook_size
        self.n_levels = n_levels
        self.latent_size = latent_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed
        self.losses: list[float] = []

    def fit(self, vectors: np.ndarray) -> RQVAE:
        """Learn from (N, D) float32 vectors; `losses` keeps the mean loss of each epoch."""
        self.mean = vectors.mean(0)
        self.spread = max(float((vectors - self.mean).std()), 1e-12)
        inputs = self._standard(vectors)
        rng = np.random.default_rng(derive_seed(self.seed, "rq-vae order"))
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.seed, "rq-vae"))
            self.net = _Net(vectors.shape[1], self.latent_size, self.codebook_size, self.n_levels)
            self._start(inputs)
            optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.learning_rate)
            self.losses = []
            for epoch in range(self.epochs):
                used = torch.zeros(self.n_levels, self.codebook_size, dtype=torch.bool)
                total = 0.0
                order = torch.from_numpy(rng.permutation(len(inputs)))
                for rows in order.split(self.batch_size):
                    batch = inputs[rows]
                    latent = self.net.encoder(batch)
                    codes, whole, loss = self.net.quantise(latent)
                    straight = latent + (whole - latent).detach()
                    loss = loss + functional.mse_loss(self.net.decoder(straight), batch)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += float(loss.detach()) * len(rows)
                    used[torch.arange(self.n_levels), codes] = True
                self.losses.append(total / len(inputs))
                if epoch < self.epochs - 1:  # a code moved after the last epoch would be untrained
                    self._revive(inputs, used, rng)
        self.net.eval()
        return self

    @torch.no_grad()
    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Return the (N, n_levels) int64 codes of any (N, D) vectors."""
        codes, _, _ = self.net.quantise(self.net.encoder(self._standard(vectors)))
        return codes.numpy()

    @torch.no_grad()
    def decoded(self, codes: np.ndarray) -> np.ndarray:
        """Return the (N, D) vectors that (N, n_levels) codes stand for."""
        chosen = torch.stack(
            [book[torch.from_numpy(codes[:, n])] for n, book in enumerate(self.net.codebooks)]
        )
        vectors: np.ndarray = self.net.decoder(chosen.sum(0)).numpy() * self.spread + self.mean
        return vectors

    @property
    def codebooks(self) -> list[np.ndarray]:
        """The (codebook_size, latent_size) vectors of each level."""
        return [book.detach().numpy() for book in self.net.codebooks]

    def _standard(self, vectors: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((vectors - self.mean) / self.spread).astype(np.float32))

    @torch.no_grad()
    def _start(self, inputs: torch.Tensor) -> None:
        rest = self.net.encoder(inputs).numpy()
        for level in range(self.n_levels):
            seed = derive_seed(self.seed, "rq-vae codebook", level)
            centres = torch.from_numpy(k_means(rest, self.codebook_size, ITERATIONS, seed))
            self.net.codebooks[level] = centres
            rest = rest - centres[torch.cdist(torch.from_numpy(rest), centres).argmin(1)].numpy()

    @torch.no_grad()
    def _revive(self, inputs: torch.Tensor, used: torch.Tensor, rng: np.random.Generator) -> None:
        if used.all():
            return
        rest = self.net.encoder(inputs)
        for level, book in enumerate(self.net.codebooks):
            dead = torch.flatten(torch.nonzero(~used[level]))
            if len(dead):
                book[dead] = rest[torch.from_numpy(rng.integers(len(rest), size=len(dead)))]
            rest = rest - book[torch.cdist(rest, book).argmin(1)]
