"""The method as textbooks print it: score each sample, accept or reject it, train on what was accepted.

The pool is long-tailed (handwritten digits, few of the high ones), the deployment sees all digits equally often, and
only unlabelled pictures of it are at hand. A 1000-500-100-10 classifier is pretrained on the pool and then tuned.

    python examples/textbook_loop.py
"""

from copy import deepcopy

import torch
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rsft import acceptance_probability, choose_envelope, fit_ratio
from rsft.sampling.acceptance import accept

SEED = 0
PRETRAINING_EPOCHS = 20
EPOCHS = 30


def digits() -> tuple[TensorDataset, Tensor, TensorDataset]:
    """A long-tailed labelled pool, unlabelled target pictures, and a test set of the target; 1,000 features each."""
    pictures, labels = load_digits(return_X_y=True)
    features = RBFSampler(gamma=0.001, n_components=1000, random_state=SEED).fit_transform(pictures) * 20
    x, y = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))
    pool, target, test = order[:1000], order[1000:1400], order[1400:]
    share = torch.rand(len(pool), generator=torch.Generator().manual_seed(SEED + 1))
    pool = pool[share < 0.5 ** y[pool].div(2)]  # a digit two higher is half as frequent
    return TensorDataset(x[pool], y[pool]), x[target], TensorDataset(x[test], y[test])


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    inputs, labels = data.tensors
    with torch.no_grad():
        return (model(inputs).argmax(1) == labels).double().mean().item()


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), labels).backward()  # takes logits: no softmax in the model
    optimizer.step()


def main() -> dict[str, float]:
    torch.manual_seed(SEED)
    pool, target, test = digits()
    model = nn.Sequential(nn.Linear(1000, 500), nn.ReLU(), nn.Linear(500, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(pool, batch_size=32, shuffle=True)
    for _ in range(PRETRAINING_EPOCHS):
        for inputs, labels in loader:
            train_step(model, optimizer, inputs, labels)
    result = {"pretrained": accuracy(model, test)}
    control = deepcopy(model)

    # P_target / P_proposal from the pool and the unlabelled target, and the envelope M.
    pool_inputs, _ = pool.tensors
    ratio = fit_ratio(pool_inputs, target)
    envelope = choose_envelope(ratio.pool_log_ratio, max_tv=0.1)

    def compute_acceptance_probability(inputs: Tensor, model: nn.Module) -> Tensor:
        return acceptance_probability(ratio.log_ratio(inputs), envelope.log_m)

    seen = accepted = 0
    for epoch in range(EPOCHS):
        position = 0
        for inputs, labels in loader:
            p_accept = compute_acceptance_probability(inputs, model)
            keep = torch.from_numpy(accept(p_accept.numpy(), seed=SEED, epoch=epoch, start=position))
            position += len(inputs)
            if keep.any():
                train_step(model, optimizer, inputs[keep], labels[keep])
            seen, accepted = seen + len(inputs), accepted + int(keep.sum())
    result |= {"tuned": accuracy(model, test), "acceptance_rate": accepted / seen}

    # The free alternative: as many samples of the pool as it is.
    optimizer = torch.optim.SGD(control.parameters(), lr=0.01, momentum=0.9)
    trained = 0
    while trained < accepted:
        for inputs, labels in loader:
            if trained < accepted:
                train_step(control, optimizer, inputs, labels)
                trained += len(inputs)
    return result | {"uniform": accuracy(control, test)}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:16s} {value:.3f}")
