"""The only code that touches the network, and only on an explicit call: downloads, and the Hub both ways."""

from __future__ import annotations

from fer.hub.downloads import (
    KAGGLE_TOKEN_HELP,
    TIMM_FILE,
    YUNET_FILE,
    YUNET_REPO,
    fetch_yunet,
    hub_dataset,
    kaggle_competition,
    kaggle_dataset,
    pretrained_net,
)
from fer.hub.pull import fetch_checkpoint, is_cached, is_hub_name, present_file
from fer.hub.push import SENT_LIST, Plan, Sent, check_access, collect, edited_texts, require_no_tokens, send_folder

__all__ = [
    "KAGGLE_TOKEN_HELP",
    "SENT_LIST",
    "TIMM_FILE",
    "YUNET_FILE",
    "YUNET_REPO",
    "Plan",
    "Sent",
    "check_access",
    "collect",
    "edited_texts",
    "fetch_checkpoint",
    "fetch_yunet",
    "hub_dataset",
    "is_cached",
    "is_hub_name",
    "kaggle_competition",
    "kaggle_dataset",
    "present_file",
    "pretrained_net",
    "require_no_tokens",
    "send_folder",
]
