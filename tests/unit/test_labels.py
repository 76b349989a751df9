import numpy as np
import pytest

from fer.errors import ConfigError, DataError
from fer.labels import ALIASES, COLORS, EMOJI, FER7, FERPLUS8, LABEL_SETS, LabelSet, canonical, project


def test_fer7_is_in_the_order_of_the_challenge_file():
    assert FER7.names == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert "".join(FER7.emoji) == "😠🤢😱😄😢😲😐"


def test_every_name_has_an_emoji_and_a_colour_of_its_own():
    for s in LABEL_SETS.values():
        assert len(set(s.emoji)) == len(s) == len(set(s.colors))
    assert set(EMOJI) == set(COLORS)
    assert set(ALIASES.values()) <= set(EMOJI)


@pytest.mark.parametrize(("got", "expected"), [("Anger", 0), ("HAPPINESS", 3), (" neutral ", 6), ("suprise", 5)])
def test_index_knows_other_spellings(got, expected):
    assert FER7.index(got) == expected


def test_index_of_a_foreign_name_is_an_error():
    with pytest.raises(ConfigError, match="contempt"):
        FER7.index("contempt")
    assert canonical("Wibble") == "wibble"


def test_label_sets_refuse_doubles_and_strangers():
    with pytest.raises(ConfigError):
        LabelSet("x", ("happy", "happy"))
    with pytest.raises(ConfigError, match="did you mean 'happy'"):
        LabelSet("x", ("hapy",))


def test_projection_goes_by_name_not_by_position():
    p = np.zeros((2, 8), dtype=np.float32)
    p[0, FERPLUS8.index("angry")] = 1
    p[1, [FERPLUS8.index("fear"), FERPLUS8.index("contempt")]] = 0.5
    q = project(p, FERPLUS8, FER7)
    assert q.shape == (2, 7)
    assert q.argmax(1).tolist() == [FER7.index("angry"), FER7.index("fear")]
    np.testing.assert_allclose(q.sum(1), 1)


def test_projection_back_leaves_contempt_empty():
    q = project(np.eye(7, dtype=np.float32), FER7, FERPLUS8)
    assert [FERPLUS8.names[i] for i in q.argmax(1)] == list(FER7.names)
    assert (q[:, FERPLUS8.index("contempt")] == 0).all()


def test_projection_refuses_rows_without_mass_and_wrong_widths():
    p = np.zeros((1, 8))
    p[0, FERPLUS8.index("contempt")] = 1
    with pytest.raises(DataError, match="no mass"):
        project(p, FERPLUS8, FER7)
    with pytest.raises(DataError, match=r"\(N, 7\)"):
        project(p, FER7, FERPLUS8)
