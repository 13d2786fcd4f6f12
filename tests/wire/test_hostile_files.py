"""Files that were made to do harm: refused in words and at once, or shown as the text they are."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench_files import changed_bench, hil

from hil.conclude import conclude
from hil.config.library import Kind
from hil.config.load import load, load_text
from hil.errors import ConfigError, HilError, RecordError
from hil.inputs import prepare
from hil.json_text import strict
from hil.record import samples
from hil.record.recover import recover
from hil.record.run_folder import read_run
from hil.record.stored import read_stored

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")


# --- configuration ------------------------------------------------------------------------------


def laughs() -> str:
    """A few hundred bytes that stand for 9 to the power of 12 words."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(), "nested too deep or too large"),
        ("a: &a [*a]", "nested too deep or too large"),
        ("a: &a {b: *a}", "nested too deep or too large"),
        ("[" * 20_000, "not valid YAML"),
        ("- " * 20_000 + "x", "not valid YAML"),
        ("x" * (1024 * 1024 + 1), "larger than 1 MiB"),
        ("scenario: !!python/object/apply:os.getcwd []", "scenario: expected text"),
        ("scenario: !!python/name:os.getcwd x", "the tag 'tag:yaml.org,2002:python/name"),
        ("scenario: x\nsteps: []\nseed: 0x" + "f" * 9999, "seed: is not a known key"),
    ],
)
def test_yaml_that_was_made_to_do_harm(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(Kind.SCENARIO, text, "f.yaml")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 10_000


def test_a_file_of_a_thousand_faults_is_answered_with_a_hundred() -> None:
    text = "\n".join(f"key{number}: 1" for number in range(1000))
    with pytest.raises(ConfigError) as caught:
        load_text(Kind.SCENARIO, text, "f.yaml")
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1] == "f.yaml: and 902 more problems"


def test_no_word_but_true_and_false_is_a_boolean_even_in_yaml_1_1(tmp_path: Path) -> None:
    listen = "listen: ws://127.0.0.1:0"
    bench = changed_bench(tmp_path, (listen, f"{listen}\n    insecure: yes"))
    text = Path(bench).read_text("utf-8")
    Path(bench).write_text("%YAML 1.1\n---\n" + text, encoding="utf-8")
    with pytest.raises(ConfigError, match="insecure: expected true or false"):
        load(Kind.BENCH, bench)


def scenario_with(folder: Path, trace: str) -> str:
    path = folder / "scenario.yaml"
    step = {"trace": {"file": trace, "column": "kw", "unit": "kW", "hold": "1 s"}}
    path.write_text(json.dumps({"scenario": "s", "steps": [step]}), encoding="utf-8")
    return str(path)


def test_a_trace_stays_beside_its_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "scenarios"
    (folder / "more").mkdir(parents=True)
    rows = "t_s,kw\n0,2\n5,3\n"
    for place in (tmp_path, folder, folder / "more"):
        (place / "t.csv").write_text(rows)
    for name in ("t.csv", "more/t.csv", "more/../t.csv"):
        inputs = prepare("virtual-ideal", scenario_with(folder, name), clock=None, seed=1)
        assert list(inputs.plan.traces) == [f"traces/{name.replace('more/../', '')}"]
    for name in ("../t.csv", str(folder / "t.csv"), str(tmp_path / "t.csv"), "/etc/passwd"):
        with pytest.raises(ConfigError, match="is not in the folder of the scenario"):
            prepare("virtual-ideal", scenario_with(folder, name), clock=None, seed=1)
    for name in ("t\0.csv", "more", "nothing.csv"):
        with pytest.raises(ConfigError, match="cannot be read"):
            prepare("virtual-ideal", scenario_with(folder, name), clock=None, seed=1)


@posix
def test_a_trace_follows_no_link_out_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (tmp_path / "secret").write_text("t_s,kw\n0,2\n")
    (folder / "t.csv").symlink_to(tmp_path / "secret")
    (folder / "circle.csv").symlink_to(folder / "circle.csv")
    os.mkfifo(folder / "pipe.csv")
    for name, words in (
        ("t.csv", "is not in the folder of the scenario"),
        ("circle.csv", "cannot be read"),
        ("pipe.csv", "there is no such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            prepare("virtual-ideal", scenario_with(folder, name), clock=None, seed=1)


# --- a run folder from a stranger ---------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    outcome = hil("run", "virtual-ideal", "quick-look", cwd=folder)
    assert outcome.returncode == 0, outcome.stderr
    [path] = (folder / "runs").iterdir()
    return path


@pytest.fixture
def run(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


DEEP = b"[" * 100_000 + b"]" * 100_000


def event(line: bytes) -> Callable[[Path], object]:
    def append(run: Path) -> None:
        with (run / "events.jsonl").open("ab") as file:
            file.write(line + b"\n")

    return append


def content(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(data)


FINDING = b'{"t": 1, "kind": "finding", "device": "d", "code": "c", "severity": "note", "text": '


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (content("manifest.json", DEEP), "manifest.json: is damaged: it is nested deeper"),
        (content("manifest.json", b'{"schema": NaN}'), "NaN is not a number"),
        (content("manifest.json", b'{"schema": ' + b"9" * 99_999 + b"}"), "has more digits"),
        (content("manifest.json", b'{"schema": 1, "files": ["a"]}'), "'files' is no list of sums"),
        (content("manifest.json", b"\xff\xfe{}"), "manifest.json: is damaged"),
        (event(FINDING + DEEP + b"}"), "is not an event of a run (it is nested deeper"),
        (event(FINDING + b'"' + b"x" * 1_100_000 + b'"}'), "is not an event of a run (it has 11"),
        (event(FINDING.replace(b"1", b"1e999") + b'""}'), "1e999 is larger than any number"),
        (event(FINDING.replace(b"1", b'"nan"') + b'""}'), "its time is not a number"),
        (event(FINDING.replace(b"1", b"9" * 5000) + b'""}'), "has more digits than any"),
        (event(b"\xff"), "is not an event of a run"),
        (content("limits.yaml", b"\xff"), "limits.yaml: is not UTF-8 text"),
        (content("services.yaml", b"\xff"), "services.yaml: is not UTF-8 text"),
        (content("limits.yaml", b"[" * 20_000), "limits.yaml:1:1: not valid YAML"),
        (content("samples.parquet", b"junk"), "samples.parquet: cannot be read as samples"),
    ],
)
def test_a_damaged_record_ends_in_words(
    spoil: Callable[[Path], object], words: str, run: Path
) -> None:
    spoil(run)
    with pytest.raises(HilError) as caught:
        conclude(run)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


RECORD = ("manifest.json", "events.jsonl", "samples.parquet", "limits.yaml", "frames.jsonl")


@posix
@pytest.mark.parametrize("name", [*RECORD, "services.yaml", "result.json", "truth.jsonl"])
def test_nothing_is_read_or_written_through_a_link_or_a_pipe(
    name: str, run: Path, tmp_path: Path
) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_bytes((run / name).read_bytes() + b"precious, and no whole line")
    before = treasure.read_bytes()
    for trap in (lambda path: path.symlink_to(treasure), os.mkfifo):
        (run / name).unlink()
        trap(run / name)
        for use in (conclude, recover, read_run):
            with pytest.raises(RecordError, match=f"{name}: is a link or no file"):
                use(run)
    assert treasure.read_bytes() == before


@posix
def test_derived_files_replace_a_link_and_leave_what_it_leads_to(run: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("precious")
    for name in ("report.html", "report.html.partial", "junit.xml", "result.json.partial"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(treasure)
    (run / "junit.xml.partial").symlink_to(tmp_path / "nowhere")
    conclude(run)
    assert treasure.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert not (run / "report.html").is_symlink()


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10**12)  # a hole: no disk is used
    with pytest.raises(RecordError, match="has 1000000000000 bytes"):
        read_stored(tmp_path / "huge")


def test_a_table_that_claims_more_rows_than_fit_is_not_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_MOST_ROWS", 100)
    with pytest.raises(RecordError, match=r"samples\.parquet: has \d+ samples"):
        conclude(run)


def test_names_in_a_manifest_lead_nowhere(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["files"] |= {"../../etc/passwd": "0" * 64, "/etc/passwd": "0" * 64}
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert set(read_run(run).altered) == {"../../etc/passwd", "/etc/passwd"}


def test_json_of_hil_s_own_is_read_as_it_was() -> None:
    document = {"a": [1, -2, 0.1, 1e-300, -0.0, True, None, "1e999 [[[ NaN"], "b": 2**63 - 1}
    assert strict(json.dumps(document).encode(), 3) == document


# --- what is shown ------------------------------------------------------------------------------

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b onclick=x>&lt;"


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.dangerous: list[str] = []
        self.scripts = 0
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.dangerous.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_what_a_charger_says_of_itself_never_becomes_markup(run: Path) -> None:
    sound = Page((run / "report.html").read_text("utf-8"))
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    identity = manifest["devices"]["dut"]["identity"]
    identity["description"] = identity["details"]["chargePointModel"] = MARKUP
    identity["details"][MARKUP] = MARKUP
    manifest["devices"][MARKUP] = manifest["devices"].pop("dut")
    manifest["devices"]["reference"]["measures"] = manifest["bench"] = MARKUP
    manifest["run"] = "</style>" + MARKUP
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    events = (run / "events.jsonl").read_text("utf-8").replace('"dut"', json.dumps(MARKUP))
    finding = {"kind": "finding", "device": MARKUP, "code": MARKUP, "severity": "warning"}
    events += json.dumps({"t": 1.0, **finding, "text": MARKUP}) + "\n"
    (run / "events.jsonl").write_text(events, encoding="utf-8")
    table = samples.read_parquet(run / "samples.parquet")
    renamed = [MARKUP if name == "dut" else name for name in table["device"].to_pylist()]
    column = table.schema.get_field_index("device")
    table = table.set_column(column, table.schema.field(column), [renamed])
    samples.pq.write_table(table, run / "samples.parquet")
    conclude(run)
    text = (run / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.dangerous == []
    assert page.scripts == sound.scripts
    assert page.elements <= sound.elements
    assert MARKUP in page.words
    # Plotly reads tags in its texts: nothing that a stranger wrote gets there.
    figures = [part.split("</script>")[0] for part in text.split('"application/json">')[1:]]
    assert len(figures) > 2
    assert not any("onerror" in figure or "<" in figure for figure in figures)
    events = events.replace('"unit": "A"', f'"unit": {json.dumps(MARKUP)}')
    (run / "events.jsonl").write_text(events, encoding="utf-8")
    with pytest.raises(RecordError, match="setpoints are in A or W"):
        conclude(run)
