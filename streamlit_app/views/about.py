"""What the numbers mean and what they do not."""

import platform
from importlib.metadata import PackageNotFoundError, version

import streamlit as st

import fer
from fer.labels import EMOJI, FER7

WORDS = {
    "Training, PublicTest, PrivateTest": "The three splits of FER2013 (28,709, 3,589 and 3,589 faces). Models learn on "
    "the first, every choice is made on the second, the third is touched once per finished model.",
    "Accuracy": "Share of faces whose likeliest class is the label.",
    "95 % interval": "Where the accuracy would lie in 95 of 100 test sets drawn like this one (bootstrap, 10,000 "
    "resamples). With 3,589 faces it is about ±1.5 points.",
    "Recall, precision, F1": "Of the faces that are sad, how many were called sad; of those called sad, how many are; "
    "the harmonic mean of both.",
    "Macro-F1, balanced accuracy": "Mean F1 and mean recall of the classes: the 55 disgusted faces count as much as "
    "the 880 happy ones.",
    "Distilled": "The model learned from another model's probabilities besides the labels.",
    "p (Holm)": "How often chance alone would give a difference as large, corrected for the number of pairs.",
}

LIMITS = """
- **An expression is not a feeling.** The models sort pictures by what people would call the face in them. They know
  nothing of what the person feels, and must not be used to judge anybody.
- **The labels disagree with people.** Ten people who voted on PrivateTest later agree with its labels for about two
  faces in three; fear, disgust, sadness and anger are the least sure.
- **The test is not the world.** FER2013 comes from web searches: posed, mostly front-on, 48 × 48 pixels, some faces
  twice, and nobody balanced it by age, sex or skin colour. Expect lower scores on other pictures, and unequal ones.
- **A heat map is a hint.** It shows which part of the picture weighed in the answer, not why.
"""


def main() -> None:
    """Render the page."""
    st.title("About this lab")
    st.write(
        "Several ways to read a facial expression, trained on the same pictures and judged by the same rules. "
        f"The seven classes: {', '.join(f'{EMOJI[n]} {n}' for n in FER7.names)}."
    )
    st.subheader("What it cannot do")
    st.markdown(LIMITS)
    st.subheader("The models")
    st.markdown(_models())
    st.subheader("What the numbers mean")
    st.markdown("\n".join(f"- **{word}**: {meaning}" for word, meaning in WORDS.items()))
    st.subheader("Where everything comes from")
    st.markdown(
        "The pages read `results/<data set>/<model>/` (`metrics.json`, `predictions.parquet`, `history.jsonl`), which "
        "`python scripts/evaluate.py` writes; they are read again as soon as a file changes. The environment variable "
        "`FER_RESULTS` moves that folder. *Try it* uses `checkpoints/`."
    )
    st.caption(
        f"facial-expression-lab {fer.__version__} · Python {platform.python_version()} · "
        + " · ".join(f"{name} {_version(name)}" for name in ("streamlit", "plotly", "torch"))
    )


@st.cache_data(show_spinner=False)
def _models() -> str:
    """What every model is, in its own words."""
    from fer.explain import METHODS
    from fer.models import get_model

    lines = []
    for spec in (get_model(name).SPEC for name in fer.list_models()):
        parts = [f"**{spec.title}**: {spec.summary}."]
        if spec.attention in METHODS:
            parts.append(f"Heat map: {METHODS[spec.attention].title}.")
        if spec.source:
            parts.append(f"After {spec.source}.")
        lines.append("- " + " ".join(parts))
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


main()
