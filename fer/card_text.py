"""The model card of a checkpoint on this machine, for people who read it in an app and not on the Hub."""

from __future__ import annotations

from pathlib import Path

from fer.checkpoint import Manifest, read_manifest
from fer.model_card import write_card
from fer.publish import notes_of, scored_with

_LOADING = "## Load it"


def card_text(name_or_path: str | Path, results: str | Path | None = None) -> str:
    """The card as Markdown, without the Hub's metadata; it tells how to load the checkpoint from here.

    Args:
        name_or_path: A trained model's name, or a checkpoint.
        results: Root of the results; default: the committed ones. Only what was scored with exactly these weights is
            quoted.

    Raises:
        CheckpointError: no checkpoint, or one that is damaged.
        DataError: damaged notes beside the results.
        HubError: huggingface_hub does not accept the card.
    """
    manifest = read_manifest(name_or_path)
    scored = scored_with(manifest, results)
    card = write_card(manifest, f"here/{manifest.model}", scored, notes_of(manifest, scored, results))
    body = card.split("\n---\n", 1)[1].strip()
    before, _, after = body.partition(f"\n{_LOADING}\n")
    return f"{before}\n{_LOADING}\n\n{_loading(name_or_path, manifest)}\n\n## {after.partition(chr(10) + '## ')[2]}\n"


def _loading(name_or_path: str | Path, manifest: Manifest) -> str:
    file = manifest.weights.get("file", "model.safetensors")
    return f"""```python
import fer  # the lab's package; `fer` on PyPI is another project

for face in fer.analyze("photo.jpg", model="{name_or_path}"):
    print(face.emoji, face.label, f"{{face.confidence:.0%}}", face.box)
```

The file `{file}` holds arrays and no code; its SHA-256 is checked against `config.json` before it is used."""
