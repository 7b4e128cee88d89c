"""Child processes: installed packages cannot patch them, and they import what their parent can import."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from harness.execution import trial_processes
from harness.execution.state import ResourceSlot
from harness.system import private_folders, python_process
from tests.helpers import spec_of, submission

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import os, subprocess
from harness.system import python_process
code = subprocess.run(python_process.command("reports"), env=python_process.environment()).returncode
print("child ended with", code)
"""
REPORTS = """
import editable_package, on_plain_path, sys
from harness.system.python_process import provide_builtins
provide_builtins()
print("child", editable_package.VALUE, on_plain_path.VALUE, sys.flags.no_site, "patched" in dir(sys))
exit(3)
"""
#: What setuptools installs for an editable package, in short: a hook that a line of code in a .pth file registers.
FINDER = """
import importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "editable_package":
            return importlib.util.spec_from_file_location(name, {target!r}, submodule_search_locations=[{folder!r}])
sys.meta_path.append(Finder)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with packages that patch processes, and with two kinds of editable install."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", symlinks=True)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    for name in ("sitecustomize", "usercustomize"):
        (packages / f"{name}.py").write_text("import sys\nsys.patched = True\n")
    (packages / "patch.pth").write_text("import sys; sys.patched = True\n")
    (packages / "reports.py").write_text(REPORTS)
    (folder / "plain").mkdir()
    (folder / "plain" / "on_plain_path.py").write_text("VALUE = 2\n")
    (packages / "plain.pth").write_text(f"{folder / 'plain'}\n")
    package = folder / "project" / "editable_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VALUE = 1\n")
    (folder / "project" / "secret.py").touch()
    (packages / "editable_finder.py").write_text(
        FINDER.format(target=str(package / "__init__.py"), folder=str(package))
    )
    (packages / "editable.pth").write_text("import editable_finder\n")
    info = packages / "editable-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: editable\nVersion: 1\n")
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    (info / "top_level.txt").write_text("editable_package\n")
    return folder


def test_a_child_is_patched_by_no_installed_package_and_imports_editable_ones(environment: Path) -> None:
    # The harness and its dependencies come from the test's own environment.
    path = [str(ROOT), *(entry for entry in sys.path if entry.endswith("-packages"))]
    result = subprocess.run(
        [environment / "venv" / "bin" / "python", "-c", "import sys; print('parent', sys.patched)\n" + PARENT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert sorted(result.stdout.splitlines()) == ["child 1 2 1 False", "child ended with 3", "parent True"], result


def test_the_links_lead_to_packages_alone(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packages,) = (environment / "venv").glob("lib/python*/site-packages")
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages), "/nowhere", "not a path"])
    namespace: dict[str, object] = {}
    exec((packages / "editable_finder.py").read_text(), namespace)  # registers the hook
    try:
        path = python_process.import_path()
        (link,) = python_process.iter_editable_links(path)
    finally:
        sys.meta_path.remove(namespace["Finder"])  # type: ignore[arg-type]
    assert not {"/nowhere", os.path.abspath("not a path")} & set(path)
    assert os.path.realpath(link) == str((environment / "project" / "editable_package").resolve())


# --- environment variables ----------------------------------------------------------------------


def test_every_folder_of_a_user_is_private_to_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = ("TORCH_HOME", "HF_HOME", "MPLCONFIGDIR", "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR", "SSH_AUTH_SOCK")
    for name in (*shared, *private_folders.PRIVATE):
        monkeypatch.setenv(name, "/home/user/shared")
    scratch = tmp_path / "scratch"
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    variables = trial_processes.worker_environment(spec, scratch, ResourceSlot())
    assert [name for name, value in variables.items() if value == "/home/user/shared"] == []
    private_folders.make_folders(scratch)
    folders = {Path(variables[name]) for name in private_folders.PRIVATE}
    assert all(folder.is_dir() and folder.is_relative_to(scratch) for folder in folders)
    assert (scratch.stat().st_mode & 0o777, (scratch / "tmp").stat().st_mode & 0o777) == (0o700, 0o700)
