"""What the numbers mean and what they do not."""

import platform
from importlib.metadata import PackageNotFoundError, version

import streamlit as st

import fer
from fer.labels import EMOJI, FER7

WORDS = {
    "Training, PublicTest, PrivateTest": "The three splits of FER2013 (28,709, 3,589 and 3,589 faces). Models learn on "
    "the first, every choice is made on the second, the third is touched once per finished model; "
    "exceptions are told below the leaderboard.",
    "Accuracy": "Share of faces whose likeliest class is the label.",
    "95 % interval": "Made this way (bootstrap; for single expressions Wilson's interval), it holds the accuracy on "
    "all such faces in 95 of 100 test sets. With 3,589 faces it is about ±1.5 points.",
    "Recall, precision, F1": "Of the faces that are sad, how many were called sad; of those called sad, how many are; "
    "the harmonic mean of both.",
    "Macro-F1, balanced accuracy": "Mean F1 and mean recall of the classes: the 55 disgusted faces count as much as "
    "the 880 happy ones.",
    "Distilled": "The model learned from another model's probabilities besides the labels.",
    "Twin": "The same net, trained alike, with its attention switched off: what is left of the difference is what "
    "attention bought.",
    "Weights not bundled": "The scores and predictions are here, the weights are not: *Try it* cannot ask the model.",
    "McNemar, p (Holm)": "How often chance alone would give a difference as large on the same faces, corrected for the "
    "number of pairs. It does not see the luck of one training run against another; several seeds do.",
    "Chi-square": "Whether two models spread their mistakes over the expressions in the same way, however many they "
    "make.",
    "ROC, precision and recall": "One expression against all others, for every threshold; the areas sum them up.",
    "ECE, NLL, Brier, temperature": "Three ways to measure whether a confidence of 80 % is right in 80 % of cases, and "
    "the one number, fitted on validation, that is meant to make it so.",
    "Risk and coverage, AURC": "Errors among the surest faces, for every share of faces answered; the area under that.",
    "Prediction sets": "Several expressions instead of one, so that the label is among them as often as promised "
    "(split-conformal prediction, fitted on validation).",
    "Deletion, insertion": "How fast the probability falls when the hottest pixels of a map are removed, and rises "
    "when they alone are put in; random maps, as smooth as the nets' own, are the measure.",
    "Pareto front": "The models that no other one beats in accuracy and in cost at once.",
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
    _cards()
    st.subheader("What the numbers mean")
    st.markdown("\n".join(f"- **{word}**: {meaning}" for word, meaning in WORDS.items()))
    st.subheader("Where everything comes from")
    st.markdown(
        "The pages compute from what is stored below `results/`: `python scripts/evaluate.py` writes scores and "
        "predictions, `python scripts/explain.py` the heat maps and their scores, training the histories. A changed "
        "file is read again at once; the environment variable `FER_RESULTS` moves the folder. Only *Try it*, "
        "*Emoji mirror*, the overlays of *Errors* and the last part of *Attention* run models, from `checkpoints/`; "
        "*Errors* shows the faces where the prepared data lie in `data/`."
    )
    st.caption(
        f"facial-expression-lab {fer.__version__} · Python {platform.python_version()} · "
        + " · ".join(f"{name} {_version(name)}" for name in ("streamlit", "plotly", "torch"))
    )


def _cards() -> None:
    """The model card of a trained model, when one is chosen."""
    from fer.card_text import card_text
    from fer.models import get_model
    from streamlit_app.live import model_names

    names = model_names()
    if not names:
        return
    st.subheader("Model cards")
    titles = {name: get_model(name).SPEC.title for name in names}
    chosen = st.pills("Model", names, format_func=lambda name: titles[name], key="card")
    if chosen is None:
        st.caption("Choose a model to read what it was trained on, how it scores and what it is not for.")
        return
    with st.container(border=True):
        st.markdown(card_text(chosen))


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
