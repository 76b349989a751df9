"""What stands at the foot of every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

NOTICE = (
    "**An expression is not a feeling**: the models name what a face looks like, not what a person feels, and they are "
    "often wrong. They should decide nothing about anybody."
)


def show_footer(about: StreamlitPage) -> None:
    """The notice, with a link to the page of limits and model cards."""
    st.divider()
    st.caption(NOTICE)
    st.page_link(about, label="Limits and model cards", icon=":material/info:")
