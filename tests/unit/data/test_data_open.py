from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fer.data
from fer.data import SOURCES, Dataset, Source, guess_source, load, open_dataset, parse_spec, save
from fer.errors import ConfigError, DataError
from fer.labels import FER7, FERPLUS8, with_contempt

Make = Callable[..., Path]


@pytest.fixture
def packed(csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("FER_DATA", str(tmp_path / "store"))
    data = SOURCES["fer2013"].read(csv_file)
    save(data, tmp_path / "store" / "fer2013.npz")
    return data


def test_every_way_to_name_the_same_data(packed: Dataset, csv_file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store" / "fer2013.npz"
    for spec in (
        "fer2013",
        " fer2013 ",
        store,
        str(store),
        f"fer2013:{csv_file}",
        csv_file,
        f"fer2013:{csv_file.parent}",
    ):
        assert open_dataset(spec).fingerprint == packed.fingerprint
        val = open_dataset(spec, ["val"])
        assert list(val.splits) == ["val"]
        assert val.fingerprint == packed.fingerprint
        assert list(open_dataset(spec, "test").splits) == ["test"]


def test_any_packed_name_opens(packed: Dataset, tmp_path: Path) -> None:
    save(packed, tmp_path / "store" / "mine.npz")
    assert open_dataset("mine").fingerprint == packed.fingerprint
    with pytest.raises(DataError, match=r"fer2013-folders.npz: no such file; .* taken by its name: .*--data mine"):
        open_dataset("folders")


def test_folders_by_name_and_by_guess(make_folders: Make) -> None:
    root = make_folders()
    assert open_dataset(f"folders:{root}").fingerprint == open_dataset(root).fingerprint
    assert guess_source(root) == "folders"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("fer2014", ConfigError, "unknown data set 'fer2014'; did you mean 'fer2013'"),
        ("folders", DataError, "fer2013-folders.npz: no such file; run scripts/prepare_data.py --source folders"),
        ("ferplus", DataError, "prepare_data.py --source ferplus"),
        ("nowhere/fer.csv", DataError, "no such file or folder"),
        ("nowhere.npz", DataError, "no such file"),
        ("fer2013:nowhere", DataError, "no such file"),
        ("folders:nowhere", DataError, "no such folder"),
        ("synthetic:m=3", ConfigError, "unknown option of synthetic 'm'"),
        ("synthetic:n=many", ConfigError, "option n of synthetic must be a whole number, got 'many'"),
        ("", ConfigError, "unknown data set"),
        ("folder", DataError, "folder: name the place, folder:PATH"),
        ("folder:nowhere", DataError, "no such folder"),
        ("muxspace:contempt=1", ConfigError, "options need the place the data are read from: muxspace:PATH,contempt=1"),
        ("muxspace:nowhere,side=3", ConfigError, "unknown option of muxspace 'side'"),
        ("muxspace:nowhere,size_px=big", ConfigError, "must be a whole number, got 'big'"),
        ("fer2013@fer8", ConfigError, "unknown label set 'fer8'; did you mean 'fer7'"),
    ],
)
def test_what_is_not_there(spec: str, error: type[Exception], message: str, packed: Dataset) -> None:
    with pytest.raises(error) as caught:
        open_dataset(spec)
    assert message in str(caught.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not recognised. Known: fer2013: "):
        open_dataset(tmp_path)


def test_a_split_that_is_not_there(packed: Dataset, csv_file: Path) -> None:
    for spec in ("fer2013", f"fer2013:{csv_file}"):
        with pytest.raises(DataError, match="no split 'dev'"):
            open_dataset(spec, ["dev"])


def test_options_reach_a_source_without_a_path(
    packed: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    got: list[dict[str, int]] = []

    def read(**options: int) -> Dataset:
        got.append(options)
        return packed

    monkeypatch.setattr(fer.data, "_test_reader", read, raising=False)
    entry = Source("fer.data:_test_reader", "t", "h", "synthetic", options=("n", "size_px", "seed"), has_path=False)
    monkeypatch.setitem(SOURCES, "synthetic", entry)
    open_dataset("synthetic")
    open_dataset("synthetic: n=200, seed=1", ["val"])
    assert got == [{}, {"n": 200, "seed": 1}]


def test_the_table_and_the_readers_agree() -> None:
    for name, source in SOURCES.items():
        if source.has_path:
            with pytest.raises(DataError):
                source.read("nowhere-at-all", skip_bad=True, seed=1)
        assert source.title, name


def test_importing_the_package_is_cheap() -> None:
    heavy = {"torch", "pandas", "cv2", "PIL", "matplotlib"}
    code = f"import sys, fer.data; bad = {heavy} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    root = Path(fer.data.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_specs_are_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_spec("muxspace:~/a,b, size_px=64 ,contempt=1 @ FER7+contempt")
    assert (spec.source, spec.place, spec.options) == ("muxspace", "~/a,b", {"size_px": 64, "contempt": 1})
    assert spec.labels == with_contempt(FER7)
    assert parse_spec("synthetic:n=2@ferplus8").labels == FERPLUS8
    assert parse_spec("folder:/x/me@home/faces").place == "/x/me@home/faces"
    # What lies there under that very name is meant, whatever it looks like.
    monkeypatch.chdir(tmp_path)
    for name in ("me@fer7", "a,size_px=3"):
        (tmp_path / name).mkdir()
        for text in (f"affectnet:{name}", name):
            spec = parse_spec(text)
            assert (spec.place, spec.options, spec.labels) == (name, {}, None)


def test_labels_by_suffix_and_by_argument(packed: Dataset) -> None:
    suffix, argument = open_dataset("fer2013@ferplus8"), open_dataset("fer2013", labels="ferplus8")
    assert suffix.name == argument.name == "fer2013-ferplus8"
    assert suffix.fingerprint == argument.fingerprint != packed.fingerprint
    assert open_dataset("fer2013@ferplus8", ["val"]).fingerprint == suffix.fingerprint
    assert list(open_dataset("fer2013@ferplus8", "val").splits) == ["val"]
    assert open_dataset("fer2013@fer7").fingerprint == packed.fingerprint
    assert open_dataset("synthetic:n=1,contempt=1@fer7")["train"].targets.shape == (7, 7)
    with pytest.raises(ConfigError, match="asks for the classes of ferplus8, and labels for those of affectnet8"):
        open_dataset("fer2013@ferplus8", labels="affectnet8")


def test_load_is_what_open_uses(packed: Dataset, tmp_path: Path) -> None:
    assert load(tmp_path / "store" / "fer2013.npz").fingerprint == packed.fingerprint
