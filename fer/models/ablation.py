"""Whether model arguments still make the net that a model's name stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fer.errors import ConfigError, FerError
from fer.models import RECIPES, get_model, get_preset
from fer.specs import InputSpec


def require_own_net(model: str, model_args: Mapping[str, Any], spec: InputSpec, recipe: str, n_classes: int) -> None:
    """Refuse an ablation, such as attention=false, where the model itself is meant.

    Arguments that only matter while training (dropout, stochastic depth, where the first weights come from) are free.

    Args:
        recipe: "best" or "reference": the model's own arguments are those that belong to this recipe.

    Raises:
        ConfigError: names the arguments.
    """
    if changed := changed_by(model, model_args, spec, recipe, n_classes):
        said = ", ".join(f"{k}={model_args[k]}" if k in model_args else f"no {k}" for k in changed)
        raise ConfigError(
            f"{model} with {said} is another net than {model}, whose bundled checkpoint it would replace; leave "
            "--promote out and name the run's folder where a checkpoint is asked for, or say --force-promote"
        )


def changed_by(model: str, model_args: Mapping[str, Any], spec: InputSpec, recipe: str, n_classes: int) -> list[str]:
    """The arguments that make another net: other parameters, or with the same ones another answer in evaluation.

    Of a model without a net every other setting counts.
    """
    own = get_preset(model, recipe if recipe in RECIPES else "best").model_args
    absent = object()
    keys = [k for k in own | dict(model_args) if k != "pretrained" and own.get(k, absent) != model_args.get(k, absent)]

    def with_own(chosen: list[str]) -> dict[str, Any]:
        """The model's own arguments, but for the chosen ones."""
        rest = {k: v for k, v in own.items() if k not in chosen}
        return rest | {k: model_args[k] for k in chosen if k in model_args}

    if not keys or _same(model, own, with_own(keys), spec, n_classes):
        return []
    return [k for k in keys if not _same(model, own, with_own([k]), spec, n_classes)] or keys


def _same(model: str, a: Mapping[str, Any], b: Mapping[str, Any], spec: InputSpec, n_classes: int) -> bool:
    """Whether two sets of arguments make the same net, judged by its parameters and its answer to one made-up face."""
    import torch

    entry = get_model(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            nets = [entry.build(n_classes, spec, **{k: v for k, v in x.items() if k != "pretrained"}) for x in (a, b)]
        except (FerError, TypeError, ValueError, RuntimeError, ArithmeticError, LookupError):
            return False
        if entry.SPEC.backend != "torch":
            return nets[0].settings == nets[1].settings
        first, second = ({k: v.shape for k, v in net.state_dict().items()} for net in nets)
        if first != second:
            return False
        # parts that begin as zeros would hide what comes before them
        state = {
            k: v if v.any() or not v.is_floating_point() else 0.1 * torch.randn_like(v)
            for k, v in nets[0].state_dict().items()
        }
        face = torch.randn(1, spec.channels, spec.size_px, spec.size_px)
        with torch.no_grad():
            for net in nets:
                net.load_state_dict(state)
            answers = [net.eval()(face) for net in nets]
        return torch.allclose(answers[0], answers[1], atol=1e-5)
