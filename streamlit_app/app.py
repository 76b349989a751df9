"""The lab: trained models side by side, from the files under results/.

    streamlit run streamlit_app/app.py

A new page is one file under views/ and one line in PAGES.
"""

import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import streamlit as st

from fer.errors import FerError
from streamlit_app.footer import show_footer

ABOUT = st.Page(HERE / "views" / "about.py", title="About", icon=":material/info:")
PAGES = [
    st.Page(HERE / "views" / "leaderboard.py", title="Leaderboard", icon=":material/leaderboard:", default=True),
    st.Page(HERE / "views" / "compare.py", title="Compare", icon=":material/compare_arrows:"),
    st.Page(HERE / "views" / "data.py", title="Data", icon=":material/database:"),
    st.Page(HERE / "views" / "curves.py", title="Curves", icon=":material/show_chart:"),
    st.Page(HERE / "views" / "errors.py", title="Errors", icon=":material/search:"),
    st.Page(HERE / "views" / "attention.py", title="Attention", icon=":material/visibility:"),
    st.Page(HERE / "views" / "reliability.py", title="Calibration and robustness", icon=":material/speed:"),
    st.Page(HERE / "views" / "try_it.py", title="Try it", icon=":material/add_a_photo:"),
    st.Page(HERE / "views" / "mirror.py", title="Emoji mirror", icon=":material/add_reaction:"),
    ABOUT,
]

st.set_page_config(page_title="Facial-expression lab", page_icon="🎭", layout="wide")
page = st.navigation(PAGES)
body = st.container()
show_footer(ABOUT)  # before the page runs, because one that stops early stops everything
try:
    with body:
        page.run()
except FerError as error:
    body.error(str(error), icon=":material/error:")
except Exception:  # the outer edge: a visitor gets a sentence, the terminal gets the traceback
    logging.getLogger(__name__).exception("page %s failed", page.title)
    body.error(
        "This page met an error it does not know. The terminal that runs the lab shows the details; "
        "the other pages still work.",
        icon=":material/error:",
    )
