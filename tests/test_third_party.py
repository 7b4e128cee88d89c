"""Somebody else's package, installed, and somebody's file: both list, run and score like built-in ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parent / "fixtures"
pytestmark = pytest.mark.slow


class Site:
    """A temporary environment that sees everything installed here, plus what is installed into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        own = self._run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        # addsitedir, not a plain path: an editable installation is itself a .pth file.
        here = sysconfig.get_path("purelib")
        (Path(own) / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
        self.target = own
        self.environment = {
            **os.environ,
            "BENCH_CACHE": str(folder / "cache"),
            "THIRDPARTY_LOG": str(folder / "observed.txt"),
        }

    def install(self, source: Path) -> None:
        copy = self.folder / f"source-{source.name}"
        flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run(["cp", "-r", str(source), str(copy)], check=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "install", *flags, "--target", self.target, str(copy)],
            check=True,
            capture_output=True,
        )

    def bench(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self._run("-m", "harness.cli", *arguments, env=self.environment, cwd=self.folder)
        assert done.returncode == code, done.stderr
        return done

    def _run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *arguments], capture_output=True, text=True, timeout=120, check=False, **options
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"))
    site.install(FIXTURES / "bench-thirdparty")
    return site


def test_it_lists(site: Site) -> None:
    listed = json.loads(site.bench("list", "--json").stdout)
    mine = {e["name"]: e["distribution"] for e in listed["submissions"] + listed["workloads"]}
    assert mine["third-wsd"] == mine["parity"] == "bench-thirdparty"
    assert mine["wsd"] == mine["lm-tiny"] == "algorace"


def test_it_runs_and_scores_like_the_built_in_ones(site: Site) -> None:
    done = site.bench("run", "-s", "third-wsd,adamw-cosine", "-w", "parity", "--json")
    records = json.loads(done.stdout)["records"]
    assert [r["status"] for r in records] == ["reached", "reached"]
    assert records[0]["environment"]["distributions"]["bench-thirdparty"] == "0.3"
    board = json.loads(site.bench("leaderboard", "--json").stdout)["boards"]
    (rows,) = [b["rows"] for b in board if b["workload"] == "parity@1"]
    assert {row["submission"].partition("@")[0] for row in rows} == {"third-wsd", "adamw-cosine"}
    assert all(row["seconds"]["median"] > 0 for row in rows)
    observed = (site.folder / "observed.txt").read_text().splitlines()
    assert sorted(observed) == ["adamw-cosine reached", "third-wsd reached"]  # two may run at once


def test_a_built_in_submission_meets_a_foreign_workload_and_the_other_way_round(site: Site) -> None:
    done = site.bench("run", "-s", "third-wsd", "-w", "resnet-digits", "--smoke", "--json")
    assert json.loads(done.stdout)["records"][0]["status"] == "exhausted"


def test_a_file_is_a_submission(site: Site) -> None:
    done = site.bench("run", "-s", str(FIXTURES / "my_optimizer.py"), "-w", "parity", "--json")
    (record,) = json.loads(done.stdout)["records"]
    assert record["status"] == "reached", record["reason"]
    assert record["spec"]["submission"]["name"] == "my-optimizer"
    assert record["spec"]["submission"]["parts"][0]["name"] == "wsd"
    assert record["spec"]["hparams"]["momentum"] == 0.9


def test_a_class_is_a_submission(site: Site) -> None:
    done = site.bench("run", "-s", "torch.optim:Adam", "-w", "parity", "--set", "lr=0.01", "--json")
    (record,) = json.loads(done.stdout)["records"]
    assert record["status"] in ("reached", "exhausted")
    assert record["spec"]["overridden"] == ["lr"]


def test_parts_by_name_are_a_submission(site: Site) -> None:
    done = site.bench("run", "-s", "nesterov+wsd", "-w", "parity", "--smoke", "--json")
    (record,) = json.loads(done.stdout)["records"]
    assert record["spec"]["submission"]["name"] == "nesterov+wsd"
    assert record["status"] == "exhausted"
