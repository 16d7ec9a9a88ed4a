"""Whitening: an affine map of the embedding that makes the pictures of one person alike across the shift.

The map shrinks the directions in which target-like pictures differ from other pictures of the same person, the more
the less people differ in them. It is computed in closed form and becomes part of the network's last layer, so the
network keeps its structure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rsft.errors import InputError
from rsft.face.adaptation.heads import class_means

MIN_PAIRS = 10.0  # in effect; below it no map is made
# Share of the mean embedding that is subtracted, if the mean of the unit embeddings is shorter than ALL_AROUND. It is
# .30 for SFace, which was trained by angles, and .92 for dlib, which was trained by distances and loses by it. Pictures
# of low quality have short embeddings, which the whole mean would turn round: on CCTV SFace loses by it (docs/log.md).
CENTRED, ALL_AROUND = 0.5, 0.5
# The folded network's embeddings are off by at most these parts of what the map changes, and of the embeddings.
FOLDED, ROUNDING = 0.01, 1e-5


def within_person_covariance(embeddings: np.ndarray, people: np.ndarray, likeness: np.ndarray) -> tuple[Tensor, float]:
    """Estimate the covariance of the difference between two pictures of a person, of which one is like the target.

    Every pair (i, j) of pictures of one person counts with the probability that at least one of them is accepted for
    the target alone, 1 - (1 - l_i) (1 - l_j). Embeddings are normalised first.

    Args:
        embeddings: (N, D) embeddings, of any norm.
        people: (N,) int person of each picture.
        likeness: (N,) probability that each picture is accepted for the target alone, in [0, 1]. With 1 everywhere, all
            pairs count alike.

    Returns:
        The covariance (D, D) float64, and the effective number of pairs.
    """
    x = nn.functional.normalize(torch.from_numpy(np.asarray(embeddings, np.float64)))
    like = torch.from_numpy(np.asarray(likeness, np.float64))
    person = torch.from_numpy(np.unique(people, return_inverse=True)[1])
    # the weights are w_ij = l_i r_j + r_i l_j with r = 1 - l / 2, their squares l_i^2 s_j + s_i l_j^2 + 2 l_i l_j with
    # s = 1 - 2 l + l^2 / 2; as differences from 1, small ones would be lost to rounding
    rest, squared = 1 - like / 2, like.square()
    weight = _pair_sum(person, like, rest)
    squares = _pair_sum(person, squared, 1 - 2 * like + squared / 2) + _pair_sum(person, like, like)
    if not (weight > 0 and squares > 0):
        return x.new_zeros(x.shape[1], x.shape[1]), 0.0
    likes, rests = _sums(person, like), _sums(person, rest)
    ends = (x * (like * rests[person] + rest * likes[person])[:, None]).T @ x
    crossed = _sums(person, like[:, None] * x).T @ _sums(person, rest[:, None] * x)
    return (ends - crossed - crossed.T) / weight, float(weight.square() / squares)


def _pair_sum(person: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return the sum over pairs of pictures of one person of a_i b_j + b_i a_j."""
    return (_sums(person, a) * _sums(person, b) - _sums(person, a * b)).sum()


def _sums(person: Tensor, values: Tensor) -> Tensor:
    """Return the sums of values (N, ...) over each person's pictures."""
    return values.new_zeros(int(person.max()) + 1, *values.shape[1:]).index_add_(0, person, values)


def between_people_covariance(embeddings: np.ndarray, people: np.ndarray) -> Tensor:
    """Estimate the covariance (D, D) of people's mean embeddings, shrunk towards a sphere as their number asks.

    Source: Y. Chen, A. Wiesel, Y. Eldar and A. Hero, "Shrinkage algorithms for MMSE covariance estimation", 2010.

    Args:
        embeddings: (N, D) embeddings, of any norm. They are normalised first.
        people: (N,) int person of each picture.
    """
    from sklearn.covariance import oas  # a second to import

    unit = nn.functional.normalize(torch.from_numpy(np.asarray(embeddings, np.float64)))
    means = class_means(unit, torch.from_numpy(np.unique(people, return_inverse=True)[1]))
    return torch.from_numpy(oas(means.numpy())[0])


def whitening_map(within: Tensor, between: Tensor, strength: float) -> Tensor:
    """Return the symmetric map (D, D) after which the inner product is the log-likelihood ratio of "one person".

    An embedding is the person, with covariance B, plus the picture, with covariance W = strength * S / 2 +
    (1 - strength) * s I, where s is the mean eigenvalue of S / 2. The ratio for two pictures x and y is x^T P y, but
    for what depends on one of them alone. Relative to W, where B has the eigenvalues l, P has l / (1 + 2 l). The map is
    the root of P, with a mean eigenvalue of 1.

    Source: S. Ioffe, "Probabilistic linear discriminant analysis", 2006; with the shrinkage of A. Hatch, S. Kajarekar
    and A. Stolcke, "Within-class covariance normalization for SVM-based speaker recognition", 2006.

    Args:
        within: (D, D) float64 covariance S of the difference between two pictures of a person.
        between: (D, D) float64 covariance B, not 0.
        strength: Number in [0, 1). With 0 all directions within a person count alike.

    >>> whitening_map(torch.diag(torch.tensor([8.0, 0.0])), torch.eye(2), 0.5).diagonal()
    tensor([0.6180, 1.3820])
    """
    half = within / 2
    level = half.diagonal().mean()
    values, vectors = torch.linalg.eigh(strength * half + (1 - strength) * level * torch.eye(len(half)).to(half))
    to_white = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    relative, turned = torch.linalg.eigh(to_white @ between @ to_white)
    relative = relative.clamp(min=0)
    basis = to_white @ turned
    squares, axes = torch.linalg.eigh(basis @ torch.diag(relative / (1 + 2 * relative)) @ basis.T)
    scales = squares.clamp(min=0).sqrt()
    return axes @ torch.diag(scales / scales.mean()) @ axes.T


@dataclass(frozen=True)
class Whitening:
    """An affine map of the embedding: x -> matrix (x - centre).

    Attributes:
        centre: (D,) float64.
        matrix: (D, D) float64.
    """

    centre: Tensor
    matrix: Tensor

    def of(self, embeddings: Tensor) -> Tensor:
        """Return the mapped embeddings (N, D)."""
        return (embeddings - self.centre.to(embeddings)) @ self.matrix.to(embeddings).T


def whitenings_of(
    embeddings: np.ndarray, people: np.ndarray, likeness: np.ndarray, strength: float
) -> Iterator[Whitening]:
    """Compute the maps for a pool, the better one first, each when it is asked for.

    The first moves the embeddings towards their mean, if it is not far out already; the last leaves 0 where it is, for
    networks that have no bias.

    Args:
        embeddings: See `within_person_covariance`; of the network's own scale.
        people: See `within_person_covariance`.
        likeness: See `within_person_covariance`.
        strength: Strength of `whitening_map` with many pairs; with n in effect it is n / (n + D) of that.

    Yields:
        Nothing if there is but one person, people do not differ, or too few pairs of one person are like the target.
    """
    if len(np.unique(people)) < 2:
        return
    centres = [np.zeros(embeddings.shape[1])]
    if nn.functional.normalize(torch.from_numpy(embeddings)).mean(0).norm() < ALL_AROUND:
        centres.insert(0, CENTRED * embeddings.mean(0, dtype=np.float64))
    for centre in centres:
        moved = embeddings - centre.astype(embeddings.dtype)
        covariance, pairs = within_person_covariance(moved, people, likeness)
        if pairs < MIN_PAIRS or not covariance.trace() > 0:
            return
        between = between_people_covariance(moved, people)
        if not between.trace() > 0:
            return
        trusted = strength * pairs / (pairs + len(covariance))  # as if D pairs more had a spherical covariance
        yield Whitening(torch.from_numpy(centre), whitening_map(covariance, between, trusted))


def fold_in(suffix: nn.Module, whitening: Whitening, example: Tensor) -> None:
    """Change the last layer in place, so that the network returns its embedding as mapped by `whitening`.

    The embedding must come from a linear layer or convolution, which at most one normalisation layer follows. One of
    them must have a bias, unless the map leaves 0 where it is.

    Args:
        suffix: Module (B, ...) -> (B, D) in evaluation mode.
        whitening: The map.
        example: (B, ...) input on which the result is checked.

    Raises:
        InputError: The network ends otherwise. It is left as it was.
    """
    before = {name: tensor.clone() for name, tensor in suffix.state_dict().items()}
    width = len(whitening.matrix)
    last: nn.Linear | nn.Conv2d | None = None
    norm: _BatchNorm | None = None
    for module in suffix.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            last, norm = module, None
        elif isinstance(module, _BatchNorm) and module.num_features == width:  # not one of the input of a layer
            norm = module
    if last is not None and len(last.weight) == width:
        with torch.no_grad():
            example = example.to(last.weight.device)
            unmapped = suffix(example)
            wanted = whitening.of(unmapped)
            if _fold(last, norm, whitening):
                allowed = FOLDED * (wanted - unmapped).norm(dim=1) + ROUNDING * wanted.norm(dim=1)
                if bool(((suffix(example) - wanted).norm(dim=1) <= allowed).all()):
                    return
            suffix.load_state_dict(before)
    raise InputError(
        "whitening needs a network whose embedding comes from a linear layer, with at most a batch normalisation after "
        "it: set recipe.whitening to 0 for this model."
    )


def _fold(last: nn.Linear | nn.Conv2d, norm: _BatchNorm | None, whitening: Whitening) -> bool:
    """Map the layer, and the normalisation y -> gain * (y - mean) + shift after it; say whether there is room."""
    matrix, centre = (values.to(last.weight.device) for values in (whitening.matrix, whitening.centre))
    gain, mean, shift = _as_affine(norm, matrix)
    bias = torch.zeros_like(mean) if last.bias is None else last.bias.to(matrix)
    constant = matrix @ (gain * (bias - mean) + shift - centre)  # the whole constant part of the new embedding
    flat = last.weight.to(matrix).flatten(1)
    last.weight.copy_(((matrix @ (gain[:, None] * flat)) / gain[:, None]).reshape(last.weight.shape))
    if norm is not None and norm.affine:
        norm.bias.copy_(constant - gain * (bias - mean))
    elif last.bias is not None:
        last.bias.copy_((constant - shift) / gain + mean)
    else:
        return not bool(constant.abs().max() > 0)
    return True


def _as_affine(norm: _BatchNorm | None, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (gain, mean, shift), (D,) each, of a normalisation with running statistics; ones and zeros for None."""
    ones, zeros = matrix.new_ones(len(matrix)), matrix.new_zeros(len(matrix))
    if norm is None or norm.running_var is None or norm.running_mean is None:
        return ones, zeros, zeros
    gain, mean = (norm.running_var.to(matrix) + norm.eps).rsqrt(), norm.running_mean.to(matrix)
    return (gain * norm.weight.to(matrix), mean, norm.bias.to(matrix)) if norm.affine else (gain, mean, zeros)
