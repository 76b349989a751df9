import numpy as np
import pytest

from fer.errors import ConfigError, DataError
from fer.labels import (
    AFFECTNET8,
    ALIASES,
    COLORS,
    EMOJI,
    FER7,
    FERPLUS8,
    LABEL_SETS,
    LabelSet,
    canonical,
    class_name,
    find_label_set,
    label_set_of,
    project,
    with_contempt,
)


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


@pytest.mark.parametrize("spelling", ["hapiness", "Happyness", "hapy"])
def test_a_misspelt_class_names_the_nearest(spelling):
    with pytest.raises(ConfigError, match=f"unknown class {spelling!r}; did you mean 'happy'"):
        class_name(spelling)


def test_a_class_like_none_is_told_what_there_is():
    with pytest.raises(ConfigError, match=r"unknown class 'xyz'\. Known: angry, disgust"):
        class_name("xyz")
    assert [class_name(n) for n in ("Anger", " SAD ", "suprise")] == ["angry", "sad", "surprise"]


def test_label_sets_by_name_and_by_classes():
    assert find_label_set(" FER7 ") is FER7 and find_label_set("affectnet8+contempt") is AFFECTNET8
    assert find_label_set("fer7+contempt") == with_contempt(FER7)
    assert with_contempt(FER7).names == (*FER7.names, "contempt")
    with pytest.raises(ConfigError, match="unknown label set 'fer'; did you mean 'fer7'"):
        find_label_set("fer")
    assert label_set_of(FER7.names[::-1]) is FER7
    assert len(label_set_of(AFFECTNET8.names)) == 8 and label_set_of(AFFECTNET8.names).name in LABEL_SETS
    assert label_set_of({"contempt", "sad", "Joy"}).names == ("happy", "sad", "contempt")
    with pytest.raises(ConfigError, match="bored"):
        label_set_of({"bored", "sad"})
