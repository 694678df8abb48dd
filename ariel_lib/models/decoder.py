"""Decoder: from node states and embeddings of the planet to a correction of the initial estimate.

A small mixture of experts (Jacobs et al. 1991, Neural Comput. 3, 79): each expert combines the node state with one source of
context, and a softmax gate weights the experts at every wavelength. The gates are part of the output, for diagnostics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EXPERTS = ("spectrum", "star", "fgs1")
LOG_SCALE_LIMIT = 2.0


class Decoder(nn.Module):
    """Heads Δ and s, zero at initialisation, so that an untrained network returns the initial estimate.

    hidden     width of the node states
    embedding  width of the embeddings of FGS1 light curve and star
    """

    def __init__(self, hidden: int, embedding: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        widths = {"spectrum": 0, "star": embedding, "fgs1": embedding}
        self.experts = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(hidden + width, hidden), nn.GELU(), nn.Linear(hidden, hidden))
                for name, width in widths.items()
            }
        )
        self.gate = nn.Linear(hidden + 2 * embedding, len(EXPERTS))
        self.delta = nn.Linear(hidden, 1)
        self.log_scale = nn.Linear(hidden, 1)
        for head in (self.delta, self.log_scale):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, states: Tensor, fgs1: Tensor, star: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Corrections delta and log_scale (planet, wavelength), and gates (planet, wavelength, expert) in the order of EXPERTS.

        states (planet, wavelength, hidden); fgs1, star (planet, embedding).
        """
        states = self.norm(states)
        fgs1, star = (context[:, None].expand(-1, states.shape[1], -1) for context in (fgs1, star))
        gates = self.gate(torch.cat([states, star, fgs1], -1)).softmax(-1)
        inputs = {"spectrum": states, "star": torch.cat([states, star], -1), "fgs1": torch.cat([states, fgs1], -1)}
        outputs = torch.stack([self.experts[name](inputs[name]) for name in EXPERTS], -1)
        fused = states + (outputs * gates[..., None, :]).sum(-1)
        # tanh limits sigma to e^±2 times that of the initial estimate, with unit slope at zero.
        log_scale = LOG_SCALE_LIMIT * torch.tanh(self.log_scale(fused) / LOG_SCALE_LIMIT)
        return self.delta(fused).squeeze(-1), log_scale.squeeze(-1), gates
