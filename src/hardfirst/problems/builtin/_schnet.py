"""A small SchNet: the features of a molecule from its atoms' elements and positions.

References:
    Schütt et al., SchNet: A continuous-filter convolutional neural network for modeling quantum interactions, NIPS 2017.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

ELEMENTS = "HCNOF"  # 1 to 5 in the inputs, where 0 is padding


class Convolution(nn.Module):
    """A continuous-filter convolution: each atom receives from all others, through filters that depend on the distance.

    With h_j the features of atom j and e_k(d_ij) the k-th radial function of its distance to atom i,
    h_i ← h_i + MLP(Σ_j Σ_k w_k e_k(d_ij) ∘ V h_j). SchNet's filter is a small network of the e_k; here it is linear in them,
    so that no tensor has an entry for each pair of atoms and feature.

    Args:
        features: features per atom.
        radii: number of radial functions.
    """

    def __init__(self, features: int, radii: int) -> None:
        super().__init__()
        self.sent = nn.Linear(features, features, bias=False)
        self.filters = nn.Parameter(torch.randn(radii, features) / math.sqrt(radii))
        self.heard = nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, features))

    def forward(self, atoms: Tensor, radial: Tensor) -> Tensor:
        """Return the new features of the atoms.

        Args:
            atoms: [molecules, atoms, features].
            radial: [molecules, atoms, radii, atoms], 0 if the sending atom is padding or the receiving atom itself.
        """
        received = radial.flatten(1, 2) @ self.sent(atoms)
        filtered = (received.view(*radial.shape[:3], -1) * self.filters).sum(2)
        return atoms + self.heard(filtered)  # type: ignore[no-any-return]  # a module's call is untyped


class Molecules(nn.Module):
    """Features of a molecule: convolutions over its atoms, then the atoms' sum and mean.

    Radial functions are Gaussians of the distance whose centres have a constant ratio: fine near the length of a bond,
    coarse across the molecule.

    Args:
        features: features per atom and per molecule.
        radii: number of radial functions, with centres from 0.8 to 10 Å.
        convolutions: number of convolutions.
    """

    def __init__(self, features: int, radii: int, convolutions: int) -> None:
        super().__init__()
        centres = torch.logspace(math.log10(0.8), 1, radii)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("widths", centres * math.log(centres[1] / centres[0]), persistent=False)
        self.embedding = nn.Embedding(1 + len(ELEMENTS), features, padding_idx=0)
        self.convolutions = nn.ModuleList(Convolution(features, radii) for _ in range(convolutions))
        self.atom = nn.Sequential(nn.Linear(features, features), nn.SiLU())
        self.molecule = nn.Sequential(nn.Linear(2 * features, features), nn.SiLU())

    centres: Tensor
    widths: Tensor

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map `elements` [molecules, atoms] and `positions` [molecules, atoms, 3], in Å, to [molecules, features]."""
        elements, positions = inputs["elements"], inputs["positions"]
        largest = int((elements > 0).sum(1).max())  # drop the padding that all molecules share; it comes last
        elements, positions = elements[:, :largest], positions[:, :largest]
        is_atom = elements > 0
        radial = self._radial(positions, is_atom)
        atoms = self.embedding(elements)
        for convolution in self.convolutions:
            atoms = convolution(atoms, radial)
        sums = (self.atom(atoms) * is_atom.unsqueeze(2)).sum(1)
        sizes = is_atom.sum(1, keepdim=True)
        # 18 is a typical size: it gives both halves the same magnitude
        return self.molecule(torch.cat([sums / 18, sums / sizes], dim=1))  # type: ignore[no-any-return]  # as above

    def _radial(self, positions: Tensor, is_atom: Tensor) -> Tensor:
        """Compute the radial functions of all distances, [molecules, atoms, radii, atoms]; 0 to padding and itself."""
        square = (positions.unsqueeze(1) - positions.unsqueeze(2)).square().sum(3)
        pairs = is_atom.unsqueeze(1) & (square > 0)  # features received by padding are not used
        distances = torch.where(pairs, square, 1).sqrt().unsqueeze(2)
        near = ((distances - self.centres.unsqueeze(1)) / self.widths.unsqueeze(1)).square()
        return torch.where(pairs.unsqueeze(2), torch.exp(-near / 2), 0)
