"""Each training feature against its definition."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from fer.errors import ConfigError
from fer.models import get_preset
from fer.settings import override
from fer.specs import Augment, InputSpec, Phase, Recipe
from fer.training.budget import fit, parse_budget
from fer.training.losses import cross_entropy, focal
from fer.training.mixing import mix
from fer.training.optim import Schedule, build_optimizer
from fer.training.processes import Processes
from fer.training.recipes import resolve, without_phases
from fer.training.sharpness import at_worst_point
from fer.training.step import Stepper, half_precision
from fer.training.stream import AugmentedStream
from fer.training.votes import WithVotes, votes_loss
from fer.transforms import N_RANDOM, augment, keyed_uniform

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
STILL = Augment(flip=0, rotate_deg=0, scale_min=1, scale_max=1, shift=0, brightness=0, contrast=0, erase=0)


def test_focal_loss_of_a_sure_answer_has_a_finite_gradient():
    for gamma in (0.0, 0.5, 1.0, 2.0):
        logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
        focal(logits, torch.tensor([[1.0, 0.0, 0.0]]), smoothing=0.1, gamma=gamma).backward()
        assert logits.grad.isfinite().all(), gamma


def test_cards_that_only_emulate_bfloat16_train_in_float16(monkeypatch):
    cuda = torch.device("cuda")
    for native, expected in ((True, torch.bfloat16), (False, torch.float16)):
        answer = lambda including_emulation=True, native=native: native or including_emulation  # noqa: E731
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", answer)
        assert half_precision(cuda, True) == expected and half_precision(cuda, False) is None
        assert half_precision(cuda) == (torch.bfloat16 if native else None), "by itself only where it is native"
    assert half_precision(torch.device("cpu"), True) is half_precision(torch.device("mps")) is None
    assert half_precision(torch.device("mps"), True) == torch.float16


def test_focal_loss_by_its_formula_and_as_cross_entropy():
    torch.manual_seed(0)
    logits, targets = torch.randn(9, 7), torch.eye(7)[torch.randint(0, 7, (9,))]
    w = torch.rand(7) + 0.5
    for weights, smoothing in [(None, 0.0), (w, 0.1)]:
        torch.testing.assert_close(
            focal(logits, targets, weights, smoothing, gamma=0.0), cross_entropy(logits, targets, weights, smoothing)
        )
    p = (logits.softmax(1) * targets).sum(1)
    torch.testing.assert_close(focal(logits, targets, gamma=2.0), (-((1 - p) ** 2) * p.log()).mean())


def batch(n=400, size=16):
    torch.manual_seed(1)
    random = np.random.default_rng(0).random((n, 4))
    return (
        torch.zeros(n, 1, size, size),
        torch.eye(7)[[0] * n],
        torch.ones(n, 1, size, size),
        torch.eye(7)[[1] * n],
        random,
    )


def test_mixup_mixes_pixels_and_targets_in_the_same_share():
    x, y, ox, oy, random = batch()
    out, target = mix(x, y, ox, oy, random, Recipe(mixup=0.4))
    share = out[:, 0, 0, 0]
    assert torch.equal(out, share.view(-1, 1, 1, 1).expand_as(out)), "every pixel in the same share"
    torch.testing.assert_close(target[:, 1], share)
    torch.testing.assert_close(target.sum(1), torch.ones(len(x)))
    assert stats.kstest(share.numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_cutmix_pastes_a_box_and_counts_its_pixels():
    x, y, ox, oy, random = batch()
    out, target = mix(x, y, ox, oy, random, Recipe(cutmix=1.0))
    assert set(out.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(target[:, 1], out.mean((1, 2, 3)))
    for face in out[:50, 0]:
        rows, columns = face.any(1).nonzero().flatten(), face.any(0).nonzero().flatten()
        if len(rows):
            assert face[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "one full rectangle"
    assert len(target[:, 1].unique()) > 30


def test_with_both_each_image_gets_one_of_the_two():
    x, y, ox, oy, random = batch()
    out, _ = mix(x, y, ox, oy, random, Recipe(mixup=5.0, cutmix=1.0))
    pasted = ((out == 0) | (out == 1)).flatten(1).all(1)
    assert 0.4 < pasted.float().mean() < 0.6


def test_nothing_of_a_step_waits_for_the_device(monkeypatch):
    """Whatever a step makes on the CPU goes by the helper that copies while the device computes."""
    made, sent, from_numpy = [], [], torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: made.append(array.shape) or from_numpy(array))
    for place in ("fer.training.mixing", "fer.transforms"):
        monkeypatch.setattr(f"{place}.on_device", lambda t, device: sent.append(tuple(t.shape)) or t.to(device))
    mix(*batch(), Recipe(mixup=5.0, cutmix=1.0))
    assert len(made) == 3 and sent == made
    made.clear(), sent.clear()
    how = dataclasses.replace(STILL, randaugment=2)
    random = keyed_uniform(0, 1, np.arange(8), N_RANDOM)
    augment(torch.zeros(8, 48, 48, dtype=torch.uint8), random, how, InputSpec(48, 1, 48))
    assert len(made) > 5 and sent == made and (0,) not in sent


def test_the_partner_is_the_next_of_the_batch_whoever_computes_it(blob_data):
    recipe = Recipe(batch_size=10, mixup=1.0, cutmix=1.0)
    spec, index = InputSpec(48, 1, 48), np.arange(20, 30)
    make = lambda p: AugmentedStream(blob_data["train"], spec, recipe, 5, CPU, processes=p)  # noqa: E731
    x, y = make(ALONE).batch(2, index, mixing=True)
    halves = [make(Processes(r, 2, CPU)).batch(2, index, mixing=True) for r in (0, 1)]
    torch.testing.assert_close(torch.cat([h[0] for h in halves]), x)
    torch.testing.assert_close(torch.cat([h[1] for h in halves]), y)
    plain, hard = make(ALONE).batch(2, index)
    assert set(hard.unique().tolist()) == {0.0, 1.0} and not torch.equal(plain, x)
    mixed_classes = (y > 0).nonzero()
    assert {int(c) for r, c in mixed_classes if r == 3} <= {int(hard[3].argmax()), int(hard[4].argmax())}


def test_an_epoch_may_see_a_share_another_one_in_each(blob_data):
    stream = AugmentedStream(blob_data["train"], InputSpec(), Recipe(batch_size=10, epoch_share=0.5), 5, CPU)
    assert len(stream) == 7 and len(set(stream.order(1))) == 70
    assert set(stream.order(1)) != set(stream.order(2))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.backbone = nn.Linear(4, 6)
        self.classifier = nn.Linear(6, 7)

    def forward(self, x):
        return self.classifier(self.backbone(x).tanh())


def stepper(net, recipe, teacher=None, n_votes=0):
    return Stepper(net, recipe, 7, n_votes, None, teacher, ALONE)


def moved(recipe, steps=1, phase=None, n_votes=0, y=None):
    net = Net()
    s = stepper(net, recipe, n_votes=n_votes)
    phase = phase or Phase(optimizer="sgd", lr=0.1, schedule="constant", weight_decay=0.0)
    optimizer = build_optimizer(s.learner, phase)
    for group in optimizer.param_groups:
        group["lr"] = phase.lr * group["lr_factor"]
    s.begin_phase()
    torch.manual_seed(0)
    x = torch.randn(12, 4)
    y = torch.eye(7)[torch.arange(12) % 7] if y is None else y
    for _ in range(steps):
        s.step(x, y, 1.0, optimizer)
    return net.state_dict()


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    for parts in (2, 5):  # 12 images do not divide by 5
        whole, pieces = moved(Recipe(), 3), moved(Recipe(accumulate=parts), 3)
        for k in whole:
            torch.testing.assert_close(whole[k], pieces[k])


def test_sam_takes_the_gradient_at_the_worst_point_nearby():
    w = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        w.weight.fill_(3.0)
    (w.weight**2 / 2).sum().backward()
    with at_worst_point(w, rho=0.5):
        assert w.weight.item() == pytest.approx(3.5) and w.weight.grad is None
        (w.weight**2 / 2).sum().backward()
    assert w.weight.item() == 3.0 and w.weight.grad.item() == pytest.approx(3.5)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(moved(Recipe()).values(), moved(Recipe(sam_rho=0.5)).values(), strict=True)
    )


def test_sam_leaves_batch_norm_statistics_to_the_weights_themselves():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    x = torch.randn(8, 4)
    net(x).square().sum().backward()
    before = net[1].running_mean.clone()
    with at_worst_point(net, 1.0):
        net(x).square().sum().backward()
    assert torch.equal(net[1].running_mean, before) and net[1].momentum == 0.1


def test_parts_of_a_net_can_move_at_their_own_rate():
    start = Net().state_dict()
    phase = Phase(
        optimizer="sgd",
        lr=0.1,
        schedule="constant",
        weight_decay=0.0,
        lr_factors={"backbone": 0.1, "backbone.bias": 0.5},
    )
    same, slow = moved(Recipe()), moved(Recipe(), phase=phase)
    step = lambda s, k: s[k] - start[k]  # noqa: E731
    torch.testing.assert_close(step(slow, "backbone.weight"), 0.1 * step(same, "backbone.weight"), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(step(slow, "backbone.bias"), 0.5 * step(same, "backbone.bias"), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(slow["classifier.weight"], same["classifier.weight"])
    with pytest.raises(ConfigError, match="did you mean 'backbone'"):
        build_optimizer(Net(), Phase(lr_factors={"bakbone": 0.1}))
    with pytest.raises(ConfigError, match="must be positive"):
        Phase(lr_factors={"backbone": 0.0})
    changed = override(Recipe(phases=(phase,)), ("phases.0.lr_factors.backbone", "0.2"))
    assert changed.phases[0].lr_factors["backbone"] == 0.2


def test_fewer_epochs_shorten_the_cycles_too():
    preset = get_preset("emotionnet", "reference").recipe
    (phase,) = (p for p in resolve(preset, epochs=15).phases if p.schedule == "warm_restarts")
    assert phase.epochs == 15 and Schedule(phase, 100).rate(1499) < 0.01 * phase.lr
    spelled = resolve(preset, epochs=15, settings=["phases.0.restart_epochs=15"]).phases[0]
    assert spelled.restart_epochs == 15, "as it is asked for"


def test_warm_restarts_follow_torch():
    phase = Phase(epochs=9, lr=0.3, schedule="warm_restarts", restart_epochs=3, restart_factor=2.0)
    ours = Schedule(phase, 1)
    theirs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    t = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, T_0=3, T_mult=2)
    for step in range(9):
        assert ours.rate(step) == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-7)
        theirs.step()
        t.step()
    warm = Schedule(dataclasses.replace(phase, warmup_epochs=2.0), 2)
    assert [warm.rate(i) for i in range(5)] == pytest.approx([0.075, 0.15, 0.225, 0.3, 0.3], abs=1e-6)


def test_plateau_can_watch_the_loss():
    s = Schedule(Phase(epochs=20, lr=1.0, schedule="plateau", patience=1, watch="loss"), 5)
    seen = []
    for loss in [1.0, 0.9, 0.8, 0.85, 0.85]:
        s.epoch_ended(loss)
        seen.append(s.rate(0))
    assert seen == pytest.approx([1, 1, 1, 1, 0.1])


def test_votes_are_learnt_beside_the_classes():
    votes = torch.rand(12, 8).softmax(1)
    votes[5] = 0  # a row without votes
    y = torch.cat([torch.eye(7)[torch.arange(12) % 7], votes], dim=1)
    plain, both = moved(Recipe(), 2), moved(Recipe(ferplus_weight=0.5), 2, n_votes=8, y=y)
    assert set(plain) == set(both), "the head of the votes is no part of the net"
    assert not torch.equal(plain["backbone.weight"], both["backbone.weight"])
    torch.testing.assert_close(
        moved(Recipe(ferplus_weight=0.0), 2, n_votes=8, y=y)["backbone.weight"], plain["backbone.weight"]
    )
    logits = torch.randn(12, 8)
    by_hand = sum(
        float((v[v > 0] * (v[v > 0].log() - row.log_softmax(0)[v > 0])).sum())
        for v, row in zip(votes, logits, strict=True)
    )
    assert votes_loss(logits, votes).item() == pytest.approx(by_hand / 12, rel=1e-5)
    with pytest.raises(ConfigError, match="last layer is linear"):
        WithVotes(nn.Conv2d(1, 1, 1), 7, 8)


def test_the_average_is_a_copy_without_the_vote_head():
    s = stepper(Net(), Recipe(ferplus_weight=0.5, ema_decay=0.9), n_votes=8)
    assert s.judged is not s.module and not s.judged.classifier._forward_pre_hooks


def test_a_budget_shortens_in_proportion_and_then_thins_the_epochs():
    recipe = Recipe(phases=(Phase(epochs=2, warmup_epochs=1), Phase(epochs=20, restart_epochs=10)))
    assert fit(recipe, [10.0, 10.0], 220.0) is recipe
    half = fit(recipe, [10.0, 10.0], 110.0)
    assert [p.epochs for p in half.phases] == [1, 10] and half.phases[1].restart_epochs == 5 and half.epoch_share == 1
    assert half.phases[0].warmup_epochs == 0.5
    uneven = fit(recipe, [50.0, 10.0], 100.0)
    assert sum(p.epochs * s for p, s in zip(uneven.phases, (50, 10), strict=True)) <= 100
    thin = fit(recipe, [10.0, 10.0], 5.0)
    assert thin.epochs == 2 and thin.epoch_share == pytest.approx(0.25)
    # validation, 4 of the 10 seconds, is never cut: of 14 seconds 3 are left for each epoch's training, of 6
    assert fit(recipe, [10.0, 10.0], 14.0, [4.0, 4.0]).epoch_share == pytest.approx(0.5)
    assert fit(recipe, [10.0, 10.0], 20.0, [4.0, 4.0]).epoch_share == 1
    assert fit(recipe, [10.0, 10.0], 7.0, [4.0, 4.0]).epoch_share < 1e-3
    assert parse_budget("hours=2") == 7200
    for bad in ("5", "minutes=0", "minutes=x", "days=1", "minutes=inf"):
        with pytest.raises(ConfigError, match="minutes=N"):
            parse_budget(bad)


def test_phases_left_out_are_recorded():
    recipe = Recipe(phases=(Phase(name="affectnet", data="affectnet"), Phase(name="fer2013")))
    short = without_phases(recipe, ["affectnet", "elsewhere"])
    assert [p.name for p in short.phases] == ["fer2013"] and short.skipped == ("affectnet",)
    with pytest.raises(ConfigError, match="nothing to train"):
        without_phases(recipe, ["affectnet", "fer2013"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("sam_rho", "-1"), "sam_rho must not"),
        (("mixup", "-0.1"), "mixup must not"),
        (("accumulate", "0"), "accumulate must be"),
        (("epoch_share", "0"), "epoch_share must be"),
        (("loss", "focl"), "did you mean 'focal'"),
        (("phases.0.watch", "f1"), "score to watch"),
        (("phases.0.schedule", "warm_restart"), "did you mean 'warm_restarts'"),
        (("phases.0.restart_factor", "0.5"), "restart_factor"),
        (("augment.randaugment", "9"), "randaugment must be"),
        (("augment.magnitude", "31"), "magnitude must be"),
    ],
)
def test_impossible_settings_say_so(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        override(Recipe(), settings)


def test_a_batch_too_small_for_its_processes(blob_data):
    with pytest.raises(ConfigError, match="too small for 4 processes"):
        AugmentedStream(blob_data["train"], InputSpec(), Recipe(batch_size=3), 0, CPU, processes=Processes(0, 4, CPU))


def test_rates_of_restarts_stay_above_zero():
    s = Schedule(Phase(epochs=6, lr=1.0, schedule="warm_restarts", restart_epochs=2), 5)
    rates = [s.rate(i) for i in range(30)]
    assert min(rates) > 0 and rates[0] == rates[10] == rates[20] and math.isfinite(sum(rates))


def test_a_list_of_teachers_is_the_same_however_it_is_written():
    """Or --resume would take one for another recipe."""
    assert Recipe(teacher=" a, b ,a,") == Recipe(teacher="a,b") and Recipe(teacher="a, b").teacher == "a,b"
    with pytest.raises(ConfigError, match="names no checkpoint"):
        Recipe(teacher=" , ")
