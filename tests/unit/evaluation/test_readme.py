import json

import pytest

from fer.errors import DataError
from fer.evaluation import leaderboard, readme
from tests.stand_in_results import write_stand_in

BOARD, ATTENTION = readme.markers("leaderboard"), readme.markers("attention")


@pytest.fixture
def root(tmp_path):
    write_stand_in(tmp_path, n=140)
    leaderboard.write(tmp_path)
    return tmp_path


def test_only_what_stands_between_the_markers_is_replaced(root):
    page = root / "README.md"
    page.write_text(f"# Title\n{BOARD[0]}\nold\n{BOARD[1]}\nrest é\n", encoding="utf-8")
    assert not readme.is_current(page, root)
    assert readme.update(page, root) and readme.is_current(page, root)
    assert not readme.update(page, root)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Title\n<!--") and text.endswith("-->\nrest é\n") and "old" not in text
    assert leaderboard.readme_table(leaderboard.read(root)) in text


@pytest.mark.parametrize("text", ["none", BOARD[0], f"{BOARD[1]} {BOARD[0]}", " ".join((*BOARD, ATTENTION[0]))])
def test_wrong_markers(root, text):
    (root / "README.md").write_text(text)
    with pytest.raises(DataError, match="exactly one"):
        readme.update(root / "README.md", root)


def test_what_attention_bought_follows_the_results(root):
    assert readme.attention_text(root) == "No attention net and its twin have been scored yet."
    metrics = root / "fer2013" / "baseline_cnn" / "metrics.json"
    card = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(card | {"twin_of": "attention_cnn"}))
    text = readme.attention_text(root)
    first = card["splits"]["test"]["single"]["accuracy"]
    second = json.loads((root / "fer2013/attention_cnn/metrics.json").read_text())["splits"]["test"]["single"][
        "accuracy"
    ]
    assert f"on {100 * first:.1f} %" in text and f"is right on {100 * second:.1f} %" in text
    assert f"{100 * (second - first):+.1f} points" in text and "McNemar" in text
    page = root / "README.md"
    page.write_text("\n".join((*BOARD, *ATTENTION)))
    readme.update(page, root)
    assert text in page.read_text(encoding="utf-8")
    page.write_text(page.read_text(encoding="utf-8").replace(f"{100 * second:.1f} %", "99.9 %"))
    assert not readme.is_current(page, root)
