import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from rebase_hf.publish.report import write_report
from tests.publish.example_run import make_rows, write_run


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def embedded(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_report_stands_alone_and_holds_every_row(run: Path) -> None:
    path = write_report(run)
    text = path.read_text(encoding="utf-8")
    tags = Tags(text).tags
    assert not [a for _, a in tags if "src" in a or str(a.get("href", "https://arxiv")).startswith("http://")]
    assert not [t for t, _ in tags if t in ("link", "img", "iframe")]
    assert "url(" not in text
    data = embedded(text)
    assert len(data["rows"]) == 60
    first = data["rows"][0]
    assert first["f"] == ["The invoice for January lists a fee that nobody told me about.", "billing"]
    assert first["w"][:4] == ["acme/helpdesk-mail", "default", "train", 3]
    assert dict(first["c"])["subject"] == "Ticket 0"
    assert "/home/someone" not in text
    assert "How diverse the texts are" in text and "93.3%" in text


def test_rows_are_data_in_the_report(tmp_path: Path) -> None:
    rows = make_rows("teacher")
    rows[0]["message"] = hostile = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)>"
    rows[1]["provenance"]["dataset"] = "<b onmouseover=alert(1)>x</b>"
    text = write_report(write_run(tmp_path / "run", rows)).read_text(encoding="utf-8")
    tags = Tags(text).tags
    assert [t for t, _ in tags].count("script") == 2
    assert not [a for _, a in tags if any(name.startswith("on") for name in a)]
    assert embedded(text)["rows"][0]["f"][0] == hostile


def test_figures_are_written_as_svg_that_parses(run: Path) -> None:
    write_report(run)
    names = sorted(path.stem for path in (run / "figures").iterdir())
    assert names == ["funnel", "labels", "scores", "sources", "time", "worth_it"]
    for path in (run / "figures").iterdir():
        assert ElementTree.parse(path).getroot().attrib["viewBox"].startswith("-16 -16 432 ")
    funnel = (run / "figures" / "funnel.svg").read_text()
    assert "near_duplicate" in funnel
    assert "quarantined: too_long" in funnel


def test_report_without_student_scores_or_kept_rows_is_still_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", student={}, baselines={}, comparison={}, seconds={}, labels={}, diversity=None)
    (run / "rows.jsonl").unlink()
    text = write_report(run).read_text(encoding="utf-8")
    assert "Was it worth it" not in text and "How diverse" not in text
    assert embedded(text)["rows"][0]["c"] == []


def test_same_run_same_report(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()
