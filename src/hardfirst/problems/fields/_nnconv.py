"""The network of published QM9 results: an edge-conditioned convolution, a gated recurrent unit, and Set2Set.

Graphs are complete and padded to the largest of a batch. A dense product then does the work of a scattered one.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BONDS = 4  # single, double, triple, aromatic
FEATURES = 11  # of an atom


class EdgeConvolution(nn.Module):
    """Each node receives the mean of all others through a linear map that depends on their edge: NNConv, `aggr="mean"`.

    With x_j the features of node j, a_ij = ReLU(V e_ij + v) from its edge to node i, and W, w a linear map to matrices,
    x_i ← R x_i + r + mean_j (W a_ij + w) x_j.
    The mean over j of a_ij ⊗ x_j is computed first, and W is applied to it: once per node instead of once per edge. The
    values are those of the definition up to rounding, without its tensor of features² numbers per edge.

    Args:
        features: the features of a node, in and out.
        edge_features: the features of an edge.
        hidden: the length of a_ij.

    References:
        Gilmer et al., Neural Message Passing for Quantum Chemistry, ICML 2017.
    """

    def __init__(self, features: int, edge_features: int = BONDS + 1, hidden: int = 128) -> None:
        super().__init__()
        self.features = features
        self.edge = nn.Sequential(nn.Linear(edge_features, hidden), nn.ReLU())
        self.matrix = nn.Linear(hidden, features * features)
        self.root = nn.Linear(features, features)
        nn.init.zeros_(self.root.bias)

    def coefficients(self, edges: Tensor, pairs: Tensor) -> Tensor:
        """Return a_ij and a constant 1, over the number of other nodes: [graphs, nodes, hidden + 1, nodes], 0 for no pair.

        Args:
            edges: the features of the edge from node j to node i, [graphs, nodes i, nodes j, edge_features].
            pairs: where i and j are two nodes of a graph, Boolean [graphs, nodes, nodes].
        """
        hidden = F.pad(self.edge(edges), (0, 1), value=1.0)
        share = pairs / pairs.sum(2, keepdim=True).clamp(min=1)
        return (hidden * share.unsqueeze(3)).transpose(2, 3)

    def forward(self, nodes: Tensor, coefficients: Tensor) -> Tensor:
        """Return the new features of the nodes.

        Args:
            nodes: [graphs, nodes, features].
            coefficients: the result of `coefficients`.
        """
        heard = (coefficients.flatten(1, 2) @ nodes).view(*coefficients.shape[:3], self.features)
        weight = torch.cat([self.matrix.weight.T, self.matrix.bias.unsqueeze(0)])  # [hidden + 1, features in · features out]
        messages: Tensor = heard.flatten(2) @ weight.view(-1, self.features)
        return messages + self.root(nodes)  # type: ignore[no-any-return]  # a module's call is untyped


class Set2Set(nn.Module):
    """A vector of twice the features for a set of any size: a recurrent cell that attends to the set several times.

    Args:
        features: the features of an element.
        steps: the number of times that it attends.

    References:
        Vinyals, Bengio and Kudlur, Order Matters: Sequence to sequence for sets, ICLR 2016.
    """

    def __init__(self, features: int, steps: int = 3) -> None:
        super().__init__()
        self.steps = steps
        self.cell = nn.LSTMCell(2 * features, features)

    def forward(self, elements: Tensor, present: Tensor) -> Tensor:
        """Return [sets, 2·features].

        Args:
            elements: [sets, elements, features].
            present: which of them are not padding, [sets, elements].
        """
        query, state = elements.new_zeros(len(elements), 2 * elements.shape[2]), None
        for _ in range(self.steps):
            state = self.cell(query, state)
            scores = (elements @ state[0].unsqueeze(2)).squeeze(2).masked_fill(~present, -torch.inf)
            read = (scores.softmax(1).unsqueeze(1) @ elements).squeeze(1)
            query = torch.cat([state[0], read], dim=1)
        return query


class MoleculeFeatures(nn.Module):
    """Features of a molecule, [molecules, 2·features]: three times the same convolution and recurrent unit, then Set2Set.

    Args:
        features: the features of an atom between the layers.

    Shape:
        `atoms` uint8 [molecules, atoms, 11], 0 for padding, which comes last; `positions` [molecules, atoms, 3]; `bonds`
        uint8 [molecules, atoms, atoms], 1 to 4 or 0 for none → [molecules, 2·features].
    """

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.atom = nn.Linear(FEATURES, features)
        self.convolution = EdgeConvolution(features)
        self.unit = nn.GRUCell(features, features)
        self.set = Set2Set(features)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Compute the features."""
        present = (inputs["atoms"] > 0).any(2)
        largest = int(present.sum(1).max())  # drop the padding that all molecules share
        present, positions = present[:, :largest], inputs["positions"][:, :largest]
        bonds = inputs["bonds"][:, :largest, :largest].long()
        pairs = present.unsqueeze(1) & present.unsqueeze(2) & ~torch.eye(largest, dtype=torch.bool, device=present.device)
        apart = positions.unsqueeze(2) - positions.unsqueeze(1)
        distances = torch.where(pairs, apart.square().sum(3), 0).sqrt()
        kinds = F.one_hot(bonds, 1 + BONDS)[..., 1:]
        coefficients = self.convolution.coefficients(torch.cat([kinds, distances.unsqueeze(3)], dim=3), pairs)
        atoms = F.relu(self.atom(inputs["atoms"][:, :largest].to(positions.dtype)))
        for _ in range(3):
            messages = F.relu(self.convolution(atoms, coefficients))
            atoms = self.unit(messages.flatten(0, 1), atoms.flatten(0, 1)).view_as(atoms)
        features: Tensor = self.set(atoms, present)
        return features
