"""The icons: names and drawings from handmade packages of the same layout, and once the real ones."""

import base64
import dataclasses
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llave.cli.main import main
from llave.data.check import check_folder
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.sample.build import META_TASKS, build_sample
from llave.sample.colours import contrast, ink_of, paper_of
from llave.sample.domain import Concept, Domain, Drawing
from llave.sample.emoji import EMOJI
from llave.sample.icons import ICONS, decorations, load_icons, singular, undecorated
from llave.sample.merge import merge
from llave.sample.scenes import COLOURS
from tests.sample.test_sample import manifest, rows

SCALE = 0.2
WORDS = [first + second for first in ("ka", "lo", "mi", "nu", "pe", "ro") for second in ("ba", "de", "fi", "go", "hu")]
NAMES = [f"{one}-{other}" for number, one in enumerate(WORDS[:12]) for other in WORDS[number + 1 : number + 11]]
FOLDERS = {"@tabler/icons": "icons/outline", "@mdi/svg": "svg", "lucide-static": "icons"}
FOLDERS["@phosphor-icons/core"] = "assets/duotone"
TRAINED, OTHERS = {"tabler", "mdi"}, {"phosphor", "lucide"}


def svg(shape: str, artist: str = "") -> bytes:
    """A picture of its own for each shape and artist: sixteen bits as squares."""
    bits = int.from_bytes(hashlib.sha256(f"{shape} {artist}".encode()).digest()[:2])
    cells = (f"M{4 * (bit % 4)} {4 * (bit // 4)}h4v4h-4z" for bit in range(16) if bits >> bit & 1)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="{"".join(cells)}"/></svg>'.encode()


def pack(cache: Path, files: Mapping[str, Mapping[str, bytes]]) -> Domain:
    """The domain with packages of these files instead of the published ones."""
    (cache / "sample").mkdir(parents=True)
    packages = []
    for package in ICONS.packages:
        path = cache / "sample" / package.tarball
        with tarfile.open(path, "w:gz") as archive:
            for name, data in {"LICENSE": f"Terms of {package.name}".encode(), **files[package.name]}.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        integrity = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
        packages.append(dataclasses.replace(package, integrity=integrity))
    return dataclasses.replace(ICONS, packages=tuple(packages), num_unseen=25)


def tabler(entries: Mapping[str, tuple[str, list[Any]]], shapes: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Tabler's package: category and tags by name; the shape is the name's unless another is named."""
    listed = {name: {"name": name, "category": category, "tags": tags} for name, (category, tags) in entries.items()}
    drawn = {f"icons/outline/{name}.svg": svg((shapes or {}).get(name, name), "tabler") for name in entries}
    return {"icons.json": json.dumps(listed).encode(), **drawn}


def mdi(icons: Mapping[str, list[str]], deprecated: str = "") -> dict[str, bytes]:
    """Material Design's package: aliases by name."""
    meta = [{"name": name, "aliases": other, "deprecated": name == deprecated} for name, other in icons.items()]
    return {"meta.json": json.dumps(meta).encode(), **{f"svg/{name}.svg": svg(name, "mdi") for name in icons}}


def load(cache: Path, files: Mapping[str, Mapping[str, bytes]]) -> dict[str, Concept]:
    domain = pack(cache, files)
    concepts, drawings = load_icons({p.name: cache / "sample" / p.tarball for p in domain.packages})
    assert all(concept.key in drawings[artist] for concept in concepts for artist in concept.drawn_by)
    return {concept.key: concept for concept in concepts}


@pytest.fixture
def files() -> dict[str, dict[str, bytes]]:
    """Four packages that know all the names, and decorations of forty of them."""
    entries = {name: ("Food" if number % 3 else "Animals", ["tag", 7, name]) for number, name in enumerate(NAMES)}
    entries |= {f"{name}-plus": ("Food", ["more"]) for name in NAMES[:40]}
    lucide = {f"icons/{name}.svg": svg(name, "lucide") for name in NAMES[::2]}
    phosphor = {f"assets/duotone/{name}-duotone.svg": svg(name, "phosphor") for name in NAMES}
    return {
        "@tabler/icons": tabler(entries),
        "@mdi/svg": mdi({name: [] for name in NAMES}),
        "@phosphor-icons/core": phosphor,
        "lucide-static": lucide,
    }


def test_names_tell_variants() -> None:
    known = {f"{name}{end}" for name in NAMES[:40] for end in ("", "-off")} | {"arrow-off", f"{NAMES[0]}-blue"}
    assert decorations(known) == {"off"}
    assert undecorated(f"{NAMES[0]}-off", known, {"off"}) == NAMES[0]
    assert undecorated("arrow-off", known, {"off"}) == "arrow-off"  # there is no arrow
    assert undecorated(f"{NAMES[0]}-blue", known, {"off"}) == f"{NAMES[0]}-blue"
    assert [singular(name) for name in ("moon-stars", "glass", "bus", "cards-5")] == [
        "moon-star",
        "glass",
        "bus",
        "card-5",
    ]
    assert merge(6, [(4, 1), (5, 4), (2, 2), (3, 0)]) == [[0, 3], [1, 4, 5], [2]]


def test_what_is_one_thing(tmp_path: Path, files: dict[str, dict[str, bytes]]) -> None:
    names = ("moon-star", "stars-moon", "twin", "double", "hero", "building-mill", "acme", "alpha")
    entries = {name: ("Map", ["a-tag", name]) for name in names}
    entries |= {"acme": ("Brand", []), "alpha": ("Letters", []), "copied": ("Map", []), "logo": ("Map", [])}
    files["@tabler/icons"] |= tabler(entries, {"double": "twin"})
    files["@mdi/svg"] = mdi(
        {"star-moon": [], "other": ["moon-star"], "protagonist": ["hero"], "mill": [], "logo": [], "acme": ["copied"]},
        "logo",
    )
    files["lucide-static"] |= {"icons/copied.svg": svg("copied", "tabler"), "icons/hero.svg": svg("hero", "lucide")}
    found = load(tmp_path, files)
    assert set(found) == {"moon-star", "twin", "hero", "building-mill", "copied", "logo"}  # no logos, no letters
    assert found["moon-star"].members == ("moon-star", "stars-moon")
    assert found["moon-star"].drawn_by == ("tabler", "mdi")
    assert found["twin"].members == ("twin", "double")
    assert found["hero"].drawn_by == ("tabler", "mdi", "lucide")
    assert found["building-mill"].drawn_by == ("tabler", "mdi")
    assert found["copied"].drawn_by == ("tabler", "mdi")  # Lucide's is Tabler's drawing
    assert found["logo"].drawn_by == ("tabler",)
    assert found["building-mill"].caption == "building mill (a tag)"
    assert (found["hero"].group, found["hero"].subgroup) == ("places & travel", "map")


def test_the_folder_has_the_layout_of_the_sample(tmp_path: Path, files: dict[str, dict[str, bytes]]) -> None:
    domain = pack(tmp_path / "cache", files)
    out = tmp_path / "icons"
    summary = build_sample(
        out, domain=domain, cache=tmp_path / "cache", scale=SCALE, max_queries=40, seed=1, progress=False
    )
    assert summary.unseen == 5
    assert check_folder(out, decode=True, progress=False) == []
    tasks = {task.name: task for task in get_benchmark(str(out)).tasks}
    assert set(tasks) == {name + end for name in META_TASKS for end in ("", "_ood")}
    assert {path.stem for path in (out / "train").iterdir()} == set(META_TASKS)
    unseen = set(manifest(out)["unseen"])
    shown: set[str] = set()
    for name, row in rows(out, "train"):
        used = {row[key] for key in ("qry_image_path", "pos_image_path", "neg_image_path")} - {""}
        shown |= {path for path in used if not path.startswith("scenes/")}
        assert not any(unseen & set(text.replace(" ", "-").split()) for text in (row["qry"], row["pos_text"])), name
    assert {Path(path).parent.name for path in shown} == TRAINED
    assert not unseen & {Path(path).stem for path in shown}
    asked = {row["qry_img_path"] for name, row in rows(out, "eval") if name == "group_ood"}
    assert {Path(path).parent.name for path in asked} == TRAINED | OTHERS
    licences = (out / "LICENSES.md").read_text("utf-8")
    for package in domain.packages:
        assert f"| {package.name} | {package.version} | {package.licence} |" in licences
        assert f"Terms of {package.name}" in licences
    with pytest.raises(UserError, match="a sample with other settings"):
        build_sample(out, scale=SCALE, max_queries=40, seed=1, progress=False)


def test_colours_can_be_told_apart_and_tell_nothing() -> None:
    things = [Concept(name, name, (), "g", "s", ("tabler", "mdi"), (name,)) for name in NAMES]
    for paper in (*ICONS.papers, *COLOURS.values()):
        inks = {ink_of(ICONS, Drawing(thing, "tabler"), paper, 0) for thing in things}
        assert len(inks) >= 2
        assert all(ink is not None and contrast(ink, paper) >= 3 for ink in inks)
    pairs = [tuple(paper_of(ICONS, Drawing(thing, artist), 0) for artist in thing.drawn_by) for thing in things]
    assert len(set(pairs)) > len(ICONS.papers)  # one drawing's does not say the other's
    assert pairs != [tuple(paper_of(ICONS, Drawing(t, artist), 1) for artist in t.drawn_by) for t in things]
    assert ink_of(EMOJI, Drawing(things[0], "noto"), (255, 255, 255), 0) is None
    assert round(contrast((255, 255, 255), (0, 0, 0)), 3) == 21


def test_errors_name_the_file_and_the_way_out(
    tmp_path: Path,
    files: dict[str, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files["@mdi/svg"][f"svg/{NAMES[3]}.svg"] = b"<svg"
    with pytest.raises(DataError, match=rf"mdi-svg-7.4.47.tgz: {NAMES[3]}.svg: no SVG that resvg can draw"):
        load(tmp_path / "broken", files)
    del files["@tabler/icons"]["icons.json"]
    with pytest.raises(DataError, match=r"tabler-icons-3.52.0.tgz: cannot read; delete it .*icons.json"):
        load(tmp_path / "lacking", files)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    files["@tabler/icons"] |= tabler({"one": ("Map", [])})
    with pytest.raises(UserError, match=r"resvg-py, which is missing: pip install 'llave\[sample\]'"):
        load(tmp_path / "bare", files)
    out = str(tmp_path / "out")
    assert main(["data", "sample", "--out", out, "--domain", "icons", "--animated", "1"]) == 2
    assert "only emoji are animated" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_icons(tmp_path: Path) -> None:
    out = tmp_path / "icons"
    assert main(["data", "sample", "--out", str(out), "--domain", "icons"]) == 0
    about = manifest(out)
    assert len(about["unseen"]) == ICONS.num_unseen
    assert about["concepts"] > 2000
    assert check_folder(out, decode=True, progress=False) == []
    for name, count in about["rows"].items():
        assert count > 200, name
    unseen = set(about["unseen"])
    for name, row in rows(out, "eval"):
        if name in {"t2i_ood", "i2t_ood"}:
            assert len(row["tgt_text"]) == len(unseen)
    for _, row in rows(out, "train"):
        used = {row[key] for key in ("qry_image_path", "pos_image_path", "neg_image_path")} - {""}
        assert all(path.split("/")[0] in {*TRAINED, "scenes"} and Path(path).stem not in unseen for path in used)
    for path in sorted((out / "images" / "mdi").iterdir())[::10]:
        with Image.open(path) as image:
            assert 2 <= len(image.getcolors(1 << 16) or []) < 1 << 10  # ink, paper and what is between
