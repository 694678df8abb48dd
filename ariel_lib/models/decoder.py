"""From node states and what is known of the planet as a whole to a correction of the physical posterior.

A small mixture of experts (Jacobs et al. 1991): each reads the node beside one source of context, and a softmax gate
says for every wavelength whom to believe; the gates are returned, to be traced. It knows neither graph nor light curve.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EXPERTS = ("spectrum", "star", "fgs1")
LOG_SCALE_LIMIT = 2.0


class Decoder(nn.Module):
    """Heads Δ and s, both zero at initialisation: the physical answer stands until training earns a change.

    hidden     width of the node states
    embedding  width of the FGS1 embedding and of the star's
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
        """states (planet, wavelength, hidden), fgs1 and star (planet, embedding) →
        delta and log_scale (planet, wavelength), gates (planet, wavelength, expert) in the order of EXPERTS.
        """
        states = self.norm(states)
        fgs1, star = (context[:, None].expand(-1, states.shape[1], -1) for context in (fgs1, star))
        gates = self.gate(torch.cat([states, star, fgs1], -1)).softmax(-1)
        seen = {"spectrum": states, "star": torch.cat([states, star], -1), "fgs1": torch.cat([states, fgs1], -1)}
        opinions = torch.stack([self.experts[name](seen[name]) for name in EXPERTS], -1)
        fused = states + (opinions * gates[..., None, :]).sum(-1)
        # tanh keeps sigma within e^±2 of the posterior's, with slope one at zero.
        log_scale = LOG_SCALE_LIMIT * torch.tanh(self.log_scale(fused) / LOG_SCALE_LIMIT)
        return self.delta(fused).squeeze(-1), log_scale.squeeze(-1), gates
