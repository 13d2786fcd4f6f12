"""Everything that the README and the docs tell a reader to type works, in a folder of their own."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench_files import changed_bench, hil, hil_anew

from hil.config.library import Kind
from hil.config.load import load

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"[Ss]ave this as `([^`]+)`|and this as `([^`]+)`")
UNTIL_CTRL_C = "hil virtual"
PASSES = "hil run virtual-rtu practical-attributes"
"""This one has to pass; of the others it is enough that they judge."""

STARTED: set[str] = set()
"""Commands that were run as a user starts them; each is, the first time that a page shows it."""


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def commands(page: Path) -> list[list[str]]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def save_files(page: Path, folder: Path) -> None:
    names = [first or second for first, second in SAVED.findall(page.read_text(encoding="utf-8"))]
    for name, body in zip(names, blocks(page, "yaml"), strict=True):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(body, encoding="utf-8")


def spelled_out(word: str, folder: Path) -> list[str]:
    """A word of a command as a shell would hand it over."""
    if "*" not in word:
        return [word]
    return [str(path.relative_to(folder)) for path in folder.glob(word)]


def test_the_pages_have_commands_at_all() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    save_files(page, tmp_path)
    if not (tmp_path / "my-bench.yaml").exists():
        shutil.copy(changed_bench(tmp_path), tmp_path / "my-bench.yaml")
    for command in commands(page):
        if command[0] == "make":
            assert re.search(rf"^{command[1]}:", (REPOSITORY / "Makefile").read_text(), re.M)
            continue
        assert command[0] == "hil", f"{page.name}: no test knows how to run {command}"
        if " ".join(command).startswith(UNTIL_CTRL_C):
            continue
        if command[1] in ("probe", "run") and "my-bench.yaml" in command:
            shutil.copy(changed_bench(tmp_path), tmp_path / "my-bench.yaml")
        words = [name for word in command[1:] for name in spelled_out(word, tmp_path)]
        play = hil if command[1] in STARTED else hil_anew
        STARTED.add(command[1])
        outcome = play(*words, cwd=tmp_path)
        allowed = (0,) if " ".join(command) == PASSES else (0, 1, 3)
        assert outcome.returncode in allowed, f"{command}: {outcome.stdout}{outcome.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_that_a_page_lets_one_save_are_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for page in PAGES:
        save_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load(Kind.METER, "my-meter").model.models == ["X1"]
    assert load(Kind.METER, "my-plug").model.adds_up
    assert load(Kind.EVSE, "my-box").model.unit == "A"
    assert load(Kind.PERSONALITY, "late-box").model.duty_hold == 5.0
    assert load(Kind.PERSONALITY, "lazy-car").model.gain == 0.95


def test_the_test_that_the_readme_shows_passes(tmp_path: Path) -> None:
    (shown,) = blocks(REPOSITORY / "README.md", "python")
    assert len(shown.splitlines()) <= 12
    (tmp_path / "test_mine.py").write_text(shown, encoding="utf-8")
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "1 passed" in outcome.stdout
