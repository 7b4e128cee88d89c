"""harness/map.svg and the file list of harness/README.md agree with the code."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

from tools import draw_map
from tools.layered_graph import Box, Graph, svg

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return draw_map.folder_graph(ROOT)


def test_the_map_and_the_list_of_files_are_not_stale(graph: Graph) -> None:
    for path, content in draw_map.generated(ROOT).items():
        assert (ROOT / path).read_text() == content, f"stale: {path}; run `make map` and commit it"
    assert (ROOT / draw_map.PICTURE).read_text() == svg(graph), "equal code must give equal bytes"


def test_the_picture_shows_every_folder_of_the_harness(graph: Graph) -> None:
    folders = {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}
    assert folders <= set(graph.boxes)


def test_the_list_names_every_file_of_the_harness() -> None:
    listed = draw_map.file_list(ROOT)
    for path in (ROOT / "harness").rglob("*.py"):
        if path.name != "__init__.py":
            assert f"`{path.relative_to(ROOT / 'harness').as_posix()}`" in listed


def test_arrows_are_imports_and_starts_of_processes(graph: Graph) -> None:
    imports = draw_map.folder_imports()
    assert set(graph.arrows) <= imports
    assert ("execution", "worker") in graph.dashed
    assert ("execution", "worker") not in imports


def test_an_arrow_that_a_chain_implies_is_not_drawn() -> None:
    arrows = [("a", "b"), ("b", "c"), ("a", "c")]
    assert [arrow for arrow in arrows if not draw_map._has_chain(arrow, arrows)] == [("a", "b"), ("b", "c")]


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One sentence.", "One sentence"),
        ("One that\nis wrapped. And a second.", "One that is wrapped"),
        ("Settings: flag > file, e.g.\nthose.", "Settings: flag > file, e.g. those"),
        ("First paragraph\n\nSecond.", "First paragraph"),
        ("In `harness.api` they are public.", "In `harness.api` they are public"),
    ],
)
def test_first_sentence(docstring: str, sentence: str) -> None:
    assert draw_map.first_sentence(docstring) == sentence


@pytest.mark.slow
def test_check_fails_when_something_is_stale(tmp_path: Path) -> None:
    for name in ("harness", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [sys.executable, "-m", "tools.draw_map", "--check"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    fresh = check()
    assert (fresh.returncode, fresh.stderr) == (0, "")
    (tmp_path / "harness" / "system" / "extra.py").write_text('"""A file that the list does not know."""\n')
    stale = check()
    assert stale.returncode == 1
    assert "stale: harness/README.md; run `make map`" in stale.stderr
    assert "extra.py" not in (tmp_path / "harness" / "README.md").read_text()


def test_svg_is_well_formed_and_routes_long_arrows_around_boxes() -> None:
    boxes = {name: Box(title=name, text="a < b & c") for name in ("top", "middle", "bottom")}
    graph = Graph(
        boxes=boxes,
        rows=[["top"], ["middle"], ["bottom"]],
        arrows=[("top", "middle"), ("middle", "bottom"), ("top", "bottom")],
        dashed=[("bottom", "top")],
        caption="a caption",
    )
    picture = xml.etree.ElementTree.fromstring(svg(graph))
    space = "{http://www.w3.org/2000/svg}"
    titles = [text.text for text in picture.iter(f"{space}text") if text.get("font-weight") == "bold"]
    assert titles == ["top", "middle", "bottom"]
    paths = [path.get("d") or "" for path in picture.findall(f"{space}path")]
    assert len(paths) == 4
    assert "V" in paths[2]  # past the middle box, straight down
