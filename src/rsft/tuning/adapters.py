"""Low-rank adapters: each linear map and convolution keeps its weights and learns a difference of small rank."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rsft.errors import InputError

ADAPTED = (nn.Linear, nn.Conv2d)


@contextmanager
def low_rank(
    model: nn.Module, *, rank: int, alpha: int, rank_stabilised: bool = True, seed: int = 0
) -> Iterator[nn.Module]:
    """Give the model with adapters, which alone train; afterwards they are part of the weights of `model` itself.

    After an error they are dropped. What trained before trains again.

    Args:
        model: changed in place.
        rank: of each difference.
        alpha: the difference is scaled by alpha / rank, or by alpha / sqrt(rank) if stabilised.
        rank_stabilised: see D. Kalajdzievski, "A rank stabilization scaling factor for fine-tuning with LoRA", 2023.
        seed: of the adapters' first weights.

    Raises:
        InputError: `peft` is not installed.
        ValueError: no linear map or convolution trains.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise InputError("adapters need the package 'peft': pip install 'rsft[lora]'.") from error
    trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
    names = [
        name for name, module in model.named_modules() if isinstance(module, ADAPTED) and module.weight.requires_grad
    ]
    if not names:
        raise ValueError("`low_rank(model=...)` has no linear map or convolution that trains: unfreeze some layers.")
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
