"""`bench new`: what is written is complete, and works in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.authoring import scaffolding
from harness.authoring.scaffolding import Kind, write_scaffold
from harness.errors import EXIT_USAGE, StoreError, UsageError
from tests.test_third_party import Site

ROOT = Path(__file__).parents[2]
KINDS: tuple[Kind, ...] = ("submission", "workload")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("single_file", [False, True])
def test_what_is_written_has_no_placeholder_and_is_formatted(kind: Kind, single_file: bool, tmp_path: Path) -> None:
    scaffold = write_scaffold(kind, "bench-my-thing2", tmp_path / "new", single_file)
    folder = scaffold.path.parent if single_file else scaffold.path
    texts = {name: (folder / name).read_text() for name in scaffold.files}
    assert scaffold.path.name == ("my_thing2.py" if single_file else "bench-my-thing2")
    assert not [name for name, text in texts.items() if "$" in name + text]
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(texts)
    for arguments in (["format", "--check"], ["check", "--select=E,F,UP,B,PT"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--quiet", "--line-length=120", str(folder)]
        subprocess.run(command, check=True)


@pytest.mark.parametrize("name", ["", "My-Thing", "my_thing", "a--b", "-a", "../up", "bench-", "1st"])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a package"):
        write_scaffold("submission", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_thing.py").write_text("mine")
    (tmp_path / "bench-my-thing").symlink_to("nowhere")
    for flags in ([], ["--file"]):
        assert cli.invoke(["new", "workload", "my-thing", "--to", str(tmp_path), *flags]) == EXIT_USAGE
        assert "exists already, and nothing is overwritten (choose another name" in capsys.readouterr().err
    assert (tmp_path / "my_thing.py").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench-my-thing", "my_thing.py"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scaffolding.Path, "rename", fail)  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        write_scaffold("submission", "my-thing", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_next_commands_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["new", "submission", "a-b", "--to", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["path"]) == (1, str(tmp_path / "bench-a-b"))
    assert "bench check a-b" in answer["next"]
    assert cli.invoke(["new", "workload", "a-b", "--to", str(tmp_path), "--file"]) == 0
    assert f"bench check {tmp_path / 'a_b.py'}" in capsys.readouterr().out


def test_a_package_is_made_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimizer = ROOT / "tests/fixtures/my_optimizer.py"
    assert cli.invoke(["new", "submission", "my-sign", "--from", str(optimizer), "--to", str(tmp_path)]) == 0
    package = tmp_path / "bench-my-sign"
    assert (package / "bench_my_sign/method.py").read_bytes() == optimizer.read_bytes()
    assert 'load="bench_my_sign.method:Mine"' in (package / "bench_my_sign/__init__.py").read_text()
    (test,) = (package / "tests").iterdir()
    assert "method import" not in test.read_text()
    (tmp_path / "helpers.py").touch()
    (tmp_path / "both.py").write_text(f"{optimizer.read_text()}\nimport helpers\n")
    for flags, problem in (
        (["--from", str(tmp_path / "both.py")], "put helpers.py and this file into one file or a package"),
        (["--from", str(tmp_path / "missing.py")], "there is no such file"),
        (["--from", str(optimizer), "--file"], "--from and --file exclude each other"),
    ):
        assert cli.invoke(["new", "submission", "other", "--to", str(tmp_path), *flags]) == EXIT_USAGE
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "bench-other").exists()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An environment with this project installed from a wheel, as users have it."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder)
    site.environment.pop("PYTHONPATH", None)
    source = folder / "algorace"
    source.mkdir()
    for name in ("harness", "workloads", "submissions"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    site.install(source)
    return site


@pytest.mark.slow
def test_the_packages_are_installed_tested_checked_and_run(site: Site) -> None:
    for kind, name in (("submission", "my-method"), ("workload", "my-task")):
        written = json.loads(site.bench("new", kind, name, "--json").stdout)
        site.install(site.folder / written["path"])
    packages = [str(site.folder / f"bench-{name}" / "tests") for name in ("my-method", "my-task")]
    tested = subprocess.run(
        [str(site.python), "-W", "error", "-m", "pytest", "-q", *packages],
        cwd=site.folder,
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "passed" in tested.stdout
    for name in ("my-method", "my-task"):
        assert json.loads(site.bench("check", name, "--json").stdout)["passed"]
    record = site.bench("run", "-s", "my-method,wsd", "-w", "my-task", "--json")
    assert [r["status"] for r in json.loads(record.stdout)["records"]] == ["reached", "reached"]


@pytest.mark.slow
def test_pytest_loads_the_fixtures_without_torch(site: Site) -> None:
    code = "import sys, pytest; pytest.main(['--fixtures', '-q']); print('torch' in sys.modules)"
    shown = subprocess.run(
        [str(site.python), "-c", code],
        cwd=site.folder / "venv",
        env=site.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "bench_run" in shown.stdout
    assert shown.stdout.rstrip().endswith("False")
