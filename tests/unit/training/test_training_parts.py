import numpy as np
import pytest
import torch
from torch import nn

from fer.errors import ConfigError
from fer.specs import InputSpec, Phase, Recipe
from fer.training.earlier import Past
from fer.training.losses import class_weights, cross_entropy, distillation
from fer.training.optim import Schedule, build_optimizer
from fer.training.recipes import resolve
from fer.training.stream import AugmentedStream, _fit, evaluate


def test_cross_entropy_equals_torch_for_hard_labels():
    torch.manual_seed(0)
    logits, labels = torch.randn(16, 7), torch.randint(0, 7, (16,))
    hot = nn.functional.one_hot(labels, 7).float()
    w = torch.rand(7) + 0.5
    for kw, smoothing in [({}, 0.0), ({"label_smoothing": 0.1}, 0.1)]:
        torch.testing.assert_close(
            cross_entropy(logits, hot, None, smoothing), nn.functional.cross_entropy(logits, labels, **kw)
        )
    by_hand = -(w[labels] * logits.log_softmax(1)[torch.arange(16), labels]).mean()
    torch.testing.assert_close(cross_entropy(logits, hot, w), by_hand)
    soft = torch.softmax(torch.randn(16, 7), 1)
    torch.testing.assert_close(cross_entropy(logits, soft), nn.functional.cross_entropy(logits, soft))


def test_distillation_is_zero_for_equals_and_matches_its_formula():
    a, b = torch.randn(5, 7), torch.randn(5, 7)
    assert distillation(a, a, 3.0).abs() < 1e-6
    q, p = torch.softmax(b / 2, 1), torch.softmax(a / 2, 1)
    torch.testing.assert_close(distillation(a, b, 2.0), 4 * (q * (q.log() - p.log())).sum(1).mean())


def test_class_weights_have_mean_one_over_the_images():
    targets = torch.eye(3)[[0] * 8 + [1] * 4 + [2] * 1]
    w = class_weights(targets, "balanced")
    torch.testing.assert_close(w[2] / w[0], torch.tensor(8.0))
    torch.testing.assert_close((targets @ w).mean(), torch.tensor(1.0))
    torch.testing.assert_close(
        class_weights(targets, "sqrt_balanced")[2] / class_weights(targets, "sqrt_balanced")[0],
        torch.tensor(8.0).sqrt(),
    )
    assert class_weights(targets, "none") is None
    assert torch.isfinite(class_weights(torch.eye(3)[[0, 1]], "balanced")).all(), "an absent class"


def rates(**kw):
    phase = Phase(**{"epochs": 10, "lr": 1.0, **kw})
    s = Schedule(phase, 5)
    return [s.rate(i) for i in range(50)]


def test_schedules():
    assert set(rates(schedule="constant")) == {1.0}
    cosine = rates(schedule="cosine", warmup_epochs=2)
    np.testing.assert_allclose(cosine[:10], np.arange(1, 11) / 10)
    assert all(np.diff(cosine[10:]) < 0) and cosine[-1] < 1e-6
    one = rates(schedule="one_cycle")
    assert (
        one[0] == pytest.approx(1 / 25) and max(one) == pytest.approx(1.0) and np.argmax(one) == 15 and one[-1] < 1e-6
    )


def test_plateau_divides_by_ten_and_its_state_survives():
    phase = Phase(epochs=50, lr=1.0, schedule="plateau", patience=2)
    s = Schedule(phase, 5)
    seen = []
    for score in [0.5, 0.6, 0.6, 0.6, 0.6, 0.7, 0.7]:
        s.epoch_ended(score)
        seen.append(round(s.rate(100), 6))
    assert seen == [1, 1, 1, 1, 0.1, 0.1, 0.1]
    t = Schedule(phase, 5)
    t.load_state_dict(s.state_dict())
    for score in [0.7, 0.7]:
        s.epoch_ended(score)
        t.epoch_ended(score)
    assert t.rate(0) == s.rate(0) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimizer_decays_matrices_only_and_leaves_frozen_parts(name, kind):
    net = nn.ModuleDict({"stem": nn.Linear(3, 3), "stem2": nn.Linear(3, 3), "norm": nn.BatchNorm1d(3)})
    opt = build_optimizer(net, Phase(optimizer=name, weight_decay=0.1, freeze=("stem",)))
    assert type(opt) is kind
    decayed, plain = opt.param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 3)] and decayed["weight_decay"] == 0.1
    assert len(plain["params"]) == 3 and plain["weight_decay"] == 0
    assert not net["stem"].weight.requires_grad and net["stem2"].weight.requires_grad
    with pytest.raises(ConfigError, match="did you mean 'stem'"):
        build_optimizer(net, Phase(freeze=("sten",)))
    with pytest.raises(ConfigError, match="nothing to train"):
        build_optimizer(net, Phase(freeze=("stem", "stem2", "norm")))
    build_optimizer(net, Phase())
    assert net["stem"].weight.requires_grad, "a later phase thaws"
    if name == "sgd":
        assert plain["nesterov"] and plain["momentum"] == 0.9


def test_resolve_applies_shorthands_to_every_phase_then_settings():
    recipe = Recipe(phases=(Phase(epochs=10, warmup_epochs=2, schedule="cosine"), Phase(epochs=4)))
    r = resolve(
        recipe,
        epochs=1,
        batch_size=8,
        lr=0.5,
        weight_decay=0.0,
        teacher="x",
        settings=["phases.1.epochs=3", "ema_decay=0"],
    )
    assert [p.epochs for p in r.phases] == [1, 3]
    assert [p.lr for p in r.phases] == [0.5, 0.5]
    assert r.phases[0].warmup_epochs == pytest.approx(0.2)
    assert (r.batch_size, r.teacher, r.ema_decay) == (8, "x", 0.0)
    for bad, expected in [("epochs", "key=value"), ("augmnt.flip=1", "did you mean 'augment'")]:
        with pytest.raises(ConfigError, match=expected):
            resolve(recipe, settings=[bad])
    with pytest.raises(ConfigError, match="at least 1"):
        resolve(recipe, epochs=0)


def test_batches_do_not_depend_on_workers_and_differ_between_epochs(blob_data):
    spec = InputSpec(44, 1, 48)

    def make(workers):
        return AugmentedStream(blob_data["train"], spec, Recipe(batch_size=32), 5, torch.device("cpu"), workers)

    a, b = list(make(0).epoch(1)), list(make(3).epoch(1))
    assert len(a) == len(b) == 4 and a[0][0].shape == (32, 1, 44, 44)
    for (xa, ya), (xb, yb) in zip(a, b, strict=True):
        assert torch.equal(xa, xb) and torch.equal(ya, yb)
    assert not torch.equal(a[0][0], next(iter(make(0).epoch(2)))[0])


def test_faces_that_do_not_fit_a_device_are_sent_batch_by_batch(blob_data, monkeypatch):
    def batches():
        stream = AugmentedStream(
            blob_data["train"], InputSpec(44, 1, 48), Recipe(batch_size=32), 5, torch.device("cpu")
        )
        return stream.resident, list(stream.epoch(3))

    here, expected = batches()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 10**12))
    assert _fit(250, torch.device("cuda")) and not _fit(251, torch.device("cuda")) and _fit(10**15, torch.device("cpu"))
    monkeypatch.setattr("fer.training.stream._fit", lambda nbytes, device: False)
    sent, found = batches()
    assert here and not sent and len(found) == len(expected) > 1
    for (x, y), (ex, ey) in zip(found, expected, strict=True):
        assert torch.equal(x, ex) and torch.equal(y, ey)


def test_a_view_does_not_depend_on_its_batch(blob_data):
    stream = AugmentedStream(blob_data["train"], InputSpec(44, 1, 48), Recipe(batch_size=32), 5, torch.device("cpu"))
    together, _ = stream.batch(3, np.array([4, 9, 11]))
    alone, _ = stream.batch(3, np.array([9]))
    torch.testing.assert_close(together[1], alone[0])


def test_evaluate_leaves_the_mode_and_the_running_statistics(blob_data):
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7)
    ).train()
    before = net[1].running_mean.clone()
    logits = evaluate(net, blob_data["val"], InputSpec(44, 1, 48), torch.device("cpu"), batch_size=32)
    assert logits.shape == (70, 7) and net.training and torch.equal(net[1].running_mean, before)


def test_what_was_trained_on_several_devices_says_so():
    past = lambda device: Past(3, 1.0, [], "", device=device)  # noqa: E731
    assert Past.none().devices("cpu, 1 thread") == past("cpu, 1 thread").devices("cpu, 1 thread") == "cpu, 1 thread"
    both = past("cpu, 2 threads").devices("cpu, 1 thread")
    assert both == "cpu, 2 threads, then cpu, 1 thread" == past(both).devices("cpu, 1 thread")
    assert past("cpu, 11 threads").devices("cpu, 11 threads") == "cpu, 11 threads"
    assert past(both).devices("cuda") == "cpu, 2 threads, then cpu, 1 thread, then cuda"
