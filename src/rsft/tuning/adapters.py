"""Low-rank adapters: each linear layer and convolution keeps its weights and learns a low-rank difference."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rsft.errors import InputError, how_to_install

ADAPTED = (nn.Linear, nn.Conv2d)


@contextmanager
def low_rank(
    model: nn.Module, *, rank: int, alpha: int, rank_stabilised: bool = True, seed: int = 0
) -> Iterator[nn.Module]:
    """Context manager that yields the model with low-rank adapters, and merges them into `model` on exit.

    Inside the context only the adapters train. After an error they are dropped. On exit, the parameters that required a
    gradient before require one again.

    Args:
        model: Changed in place. Linear layers and convolutions whose weight requires a gradient get an adapter.
        rank: Rank of each adapter.
        alpha: The difference is scaled by alpha / rank, or by alpha / sqrt(rank) if `rank_stabilised`.
        rank_stabilised: See D. Kalajdzievski, "A rank stabilization scaling factor for fine-tuning with LoRA", 2023.
        seed: Seed for the initial weights of the adapters.

    Yields:
        The model with adapters.

    Raises:
        InputError: If `peft` is not installed.
        ValueError: If no linear layer or convolution requires a gradient.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise InputError(f"adapters need the package 'peft': {how_to_install('lora')}.") from error
    trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
    names = [
        name for name, module in model.named_modules() if isinstance(module, ADAPTED) and module.weight.requires_grad
    ]
    if not names:
        raise ValueError("`low_rank(model=...)` has no linear layer or convolution that trains: unfreeze some layers.")
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, use_rslora=rank_stabilised, target_modules=names)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(model, config)
    try:
        yield adapted
    except BaseException:
        adapted.unload()
        raise
    else:
        adapted.merge_and_unload()
    finally:
        for parameter, requires_grad in trained.items():
            parameter.requires_grad_(requires_grad)
