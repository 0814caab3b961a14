import asyncio
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

from rebase_hf.errors import MissingExtraError, PublishError
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.compared_texts import compare_texts, labels_before, varied
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.png import has_pillow
from rebase_hf.publish.report import write_report
from rebase_hf.rows import Completion
from rebase_hf.teacher.journal import Journal
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


def test_how_long_answers_took_is_shown_where_it_is_known(run: Path, tmp_path: Path) -> None:
    assert "Seconds until an answer" not in write_report(run).read_text(encoding="utf-8")
    told = {"answers": 1109, "p50": 0.842, "p90": 1.43, "p99": 2.61}
    text = write_report(write_run(tmp_path / "asked", latency=told)).read_text(encoding="utf-8")
    assert "Of 1,109 answers" in text and "half of the answers" in text and "2.61 s" in text
    assert (tmp_path / "asked/figures/latency.svg").is_file()


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
    drawn = {path.stem for path in (run / "figures").glob("*.svg")}
    assert drawn == {"copied", "funnel", "labels", "scores", "sources", "texts", "time", "worth_it"}
    for path in (run / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().attrib["viewBox"].startswith("-16 -46 432 ")
    funnel = (run / "figures" / "funnel.svg").read_text()
    assert "near_duplicate" in funnel
    assert "quarantined: too_long" in funnel


def test_report_without_student_scores_or_kept_rows_is_still_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", student={}, baselines={}, comparison={}, seconds={}, labels={}, diversity=None)
    (run / "rows.jsonl").unlink()
    text = write_report(run).read_text(encoding="utf-8")
    assert "Was it worth it" not in text and "How diverse" not in text
    assert embedded(text)["rows"][0]["c"] == []


def test_what_is_empty_is_not_shown_as_an_empty_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", examples=0, student={}, baselines={}, comparison={}, diversity=None, labels={})
    table = pq.read_table(run / "data/train.parquet")
    pq.write_table(table.slice(0, 0), run / "data/train.parquet")
    (run / "data/validation.parquet").unlink()
    text, card = write_report(run).read_text(encoding="utf-8"), render_dataset_card(run)
    assert "No example was made, so no row of a dataset is in it." in text and "Every row: what was" not in text
    assert "No example was made" in card and "## Examples" not in card and "Every row says" not in card
    assert [tag for tag, _ in Tags(text).tags].count("table") == 0
    written = write_run(tmp_path / "written", retrieved=0, index=None)
    assert "From requests to examples" in write_report(written).read_text(encoding="utf-8")
    assert "### What became of what was asked for" in render_dataset_card(written)


def test_same_run_same_report(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_figures_of_an_earlier_report_go_and_a_persons_stay(run: Path) -> None:
    (run / "figures").mkdir()
    for name in ("cartography.svg", "cartography.png", "mine.svg"):
        (run / "figures" / name).write_text("<svg/>")
    write_report(run)
    assert (run / "figures" / "mine.svg").is_file()
    assert not list((run / "figures").glob("cartography.*"))


def test_without_pillow_png_is_refused_with_the_line_that_installs_it(run: Path) -> None:
    if has_pillow():
        pytest.skip("Pillow is installed here")
    write_report(run)
    assert not list((run / "figures").glob("*.png"))
    with pytest.raises(MissingExtraError, match=r"rebase-hf\[figures\]"):
        write_report(run, png=True)


@pytest.mark.skipif(not has_pillow(), reason="Pillow is not installed: pip install 'rebase-hf[figures]'")
def test_every_figure_is_there_as_png_too(run: Path) -> None:
    from PIL import Image

    write_report(run)
    for path in (run / "figures").glob("*.svg"):
        box = ElementTree.parse(path).getroot().attrib["viewBox"].split()
        with Image.open(path.with_suffix(".png")) as image:
            assert image.size == (2 * int(box[2]), 2 * int(box[3]))
            assert len(image.getcolors(1 << 20) or ()) > 3
    before = {path.name: path.read_bytes() for path in (run / "figures").glob("*.png")}
    write_report(run)
    assert before == {path.name: path.read_bytes() for path in (run / "figures").glob("*.png")}


def test_texts_are_measured_once_for_card_and_report(run: Path) -> None:
    varied.cache_clear()
    write_report(run)
    assert (varied.cache_info().misses, varied.cache_info().hits) == (2, 0)
    render_dataset_card(run)
    assert varied.cache_info().misses == 2


def test_a_reader_of_the_report_sees_the_old_or_the_new_one_whole(run: Path, tmp_path: Path) -> None:
    held = [write_report(run), run / "figures/funnel.svg"]
    for number, path in enumerate(held):
        os.link(path, tmp_path / str(number))  # as a reader has it that opened it before
    before = [path.read_bytes() for path in held]
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps(report | {"retrieved": 999, "statement": "Another."}))
    write_report(run)
    assert [path.read_bytes() for path in held] != before
    assert [(tmp_path / str(number)).read_bytes() for number in (0, 1)] == before
    assert not [path for path in (run, run / "figures") for path in path.iterdir() if path.suffix == ".tmp"]


def test_labels_before_and_after_the_checks(run: Path) -> None:
    refused = [{"text": json.dumps({"message": "x", "team": "billing"})}, {"fields": {"team": "delivery"}}]
    refused += [{"text": "not JSON"}, {"text": '["a list"]'}, {"text": json.dumps({"team": "no label"})}, {}]
    (run / "ledger.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in refused))
    assert labels_before(FinishedRun.open(run)) == {"billing": 21, "technical": 20, "delivery": 21}
    assert "Labels: what the teacher gave (orange), and what stayed" in write_report(run).read_text()


def test_texts_are_compared_at_one_number_with_rows_evaluation_and_other_runs(run: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "eval.jsonl"
    rows = [{"message": f"A letter of its own, number {i}, from {i * 7}", "team": "billing"} for i in range(30)]
    evaluation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = (run / "task.yaml").read_text().replace("/home/someone/private/eval.jsonl", str(evaluation))
    (run / "task.yaml").write_text(task)
    other = write_run(tmp_path / "plain", method="fewgen")
    found = compare_texts(FinishedRun.open(run), [other])
    assert found.rows == 30
    assert list(found.values) == ["these examples", "rows as retrieved", "evaluation texts", "plain (fewgen)"]
    assert all(0 <= value <= 1 for values in found.values.values() for value in values.values())
    assert found.values["these examples"] == found.values["plain (fewgen)"]
    (run / "rows.jsonl").unlink()
    evaluation.unlink()
    assert compare_texts(FinishedRun.open(run)) is None
    with pytest.raises(PublishError, match="not a finished run"):
        write_report(run, against=[tmp_path])


def test_a_row_has_its_trace_where_the_journal_holds_it(run: Path, home: Path) -> None:
    journal = Journal.open()
    key = f"{3:064x}"
    message = [{"role": "user", "content": "Make </script> of it"}]
    request = {"messages": message, "sampling": {"temperature": 0.5, "seed": None}, "repair": 1}

    async def answer() -> None:
        await journal.put(
            key, request, Completion(key, "an answer", "stop", "m", prompt_tokens=7, completion_tokens=2)
        )

    asyncio.run(answer())
    journal.close()
    text = write_report(run).read_text()
    data = embedded(text)
    assert [i for i, row in enumerate(data["rows"]) if "t" in row] == [3]
    trace = data["rows"][3]["t"]
    assert (trace["a"], trace["n"], trace["r"]) == ("an answer", [7, 2], 1)
    assert data["texts"][trace["m"][0][1]] == "Make </script> of it"
    assert data["trace"] == "rebase-hf trace run"


def watched(run: Path) -> None:
    """What the callbacks write, of two epochs."""
    sources = {
        "acme/mail": {"rows": 5, "loss": 0.9, "accuracy": 0.4},
        "/home/me/x": {"rows": 3, "loss": 1, "accuracy": 0},
    }
    later = {name: told | {"loss": told["loss"] / 3, "accuracy": 0.6} for name, told in sources.items()}
    epochs = [{"epoch": 1, "sources": sources}, {"epoch": 2, "sources": later}]
    (run / "student" / "provenance.json").write_text(json.dumps({"rows": 60, "looked_at": 8, "epochs": epochs}))
    point = {"confidence": 0.8, "variability": 0.1, "kept": True}
    rows = [point | {"correctness": right} for right in (0, 1, 1, 0.5)]
    (run / "student" / "cartography.json").write_text(json.dumps({"epochs": 2, "rows": rows}))


def test_what_the_student_found_hard_is_told(run: Path) -> None:
    watched(run)
    text = write_report(run).read_text()
    assert "What the student found hard" in text and "/home/me" not in text
    assert "about 1 of 4 in none" in text and "after the last of 2" in text
    assert {"learning.svg", "cartography.svg"} <= {path.name for path in (run / "figures").iterdir()}
    card = render_student_card(run)
    assert card.index("| x | 3 |") < card.index("| acme/mail | 5 | 0.900 to 0.300 | 0.400 to 0.600 |")
    assert "right about 2 rows in each, and about 1 of 4 in none" in card


@pytest.mark.parametrize("name", ["provenance.json", "cartography.json"])
@pytest.mark.parametrize("held", ["{", "[]", '{"epochs": []}', '{"epochs": 2, "rows": [{}]}'])
def test_damaged_findings_of_training_are_said_to_be(run: Path, name: str, held: str) -> None:
    (run / "student" / name).write_text(held)
    with pytest.raises(PublishError, match=rf"student/{name} is not as its callback writes it"):
        write_report(run)
