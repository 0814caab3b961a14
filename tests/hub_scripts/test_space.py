"""The Space as a visitor has it: started as a process, driven in headless Chromium, its download opened."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from datasets import load_dataset

from tests.conftest import EXAMPLES, ROOT

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.space, pytest.mark.timeout(900)]

BANKS = ("webshop_chats", "telecom_tickets", "app_reviews", "parcel_mail", "store_questions")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
START_SECONDS = 600
# Milliseconds in which a busy machine with two cores answers.
PATIENCE = 60_000
HOSTILE = "<img src=x onerror=\"document.title='taken'\"> ${1+1} {{value}}"


@dataclass(frozen=True, slots=True)
class App:
    """A Space that runs: where it is, where its visitors' folders are, and what it wrote."""

    url: str
    folders: Path
    log: Path

    def visitors(self) -> list[Path]:
        return [folder for base in self.folders.glob("rebase-space-*") for folder in base.iterdir()]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The files as a Space's repository has them, with a part of the example bank."""
    root = tmp_path_factory.mktemp("space")
    shutil.copytree(ROOT / "hub_scripts" / "space", root / "repository", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*(f"bank/{name}" for name in BANKS), "support-triage"):
        shutil.copytree(EXAMPLES / name, root / "repository" / "examples" / name)
    (root / "folders").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"GRADIO_SERVER_PORT": str(port), "REBASE_HOME": str(root / "home"), "TMPDIR": str(root / "folders")}
    with (root / "log").open("w") as log:
        command = [sys.executable, "app.py"]
        process = subprocess.Popen(
            command, cwd=root / "repository", env=os.environ | told, stdout=log, stderr=subprocess.STDOUT
        )
    running = App(f"http://127.0.0.1:{port}", root / "folders", root / "log")
    try:
        await_start(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(30)
    assert not list(running.folders.glob("rebase-space-*")), "the app leaves nothing behind"
    assert "Traceback" not in running.log.read_text()


def await_start(app: App, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(app.url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(app.log.read_text()[-3000:])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(app: App, browser: Any) -> Iterator[Callable[[], Any]]:
    """Open the page as one more visitor; nothing outside is asked for, and the page has no error to tell."""
    contexts, outside, errors = [], [], []

    def open_page() -> Any:
        context = browser.new_context(viewport={"width": 390, "height": 844}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda asked: None if is_inside(app, asked.url) else outside.append(asked.url))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(app.url)
        page.get_by_role("button", name="Make the dataset").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not outside
    assert not errors


def is_inside(app: App, url: str) -> bool:
    return url.startswith((app.url, "data:", "blob:"))


def field(page: Any, label: str) -> Any:
    """Return a field by its label, which what explains it follows."""
    return page.get_by_role("textbox", name=re.compile(rf"^\s*{label}"))


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name).click()


def await_status(page: Any, text: str) -> str:
    page.locator("#status").filter(has_text=text).wait_for()
    shown: str = page.locator("#status").inner_text()
    return shown


def download(page: Any, folder: Path) -> Any:
    with page.expect_download() as caught:
        press(page, "Download")
    caught.value.save_as(folder / caught.value.suggested_filename)
    with zipfile.ZipFile(folder / caught.value.suggested_filename) as archive:
        archive.extractall(folder)
        top = archive.namelist()[0].split("/")[0]
    assert (folder / top / "README.md").read_text().startswith("---\n")
    return load_dataset(str(folder / top), split="train")


def test_the_sample_is_retrieved_made_and_downloaded(app: App, visit: Callable[[], Any], tmp_path: Path) -> None:
    page = visit()
    assert not page.get_by_role("button", name="Download").is_visible()
    press(page, "Retrieve rows")
    await_status(page, "rows were found for support-triage.")
    first = page.locator("#rows .card").first.inner_text()
    assert "score 0." in first and any(name in first for name in BANKS)
    assert any(word in first for word in ("cc-by-4.0", "cc-by-sa-4.0", "apache-2.0", "cc0-1.0", "mit"))
    press(page, "Make the dataset")
    await_status(page, "The dataset is made.")
    made = page.locator("#made").inner_text()
    assert "30 of 30 examples" in made and "Where the examples come from" in made and "low confidence" in made
    pairs = page.locator("#made .pair")
    assert pairs.count() == 30
    row, example = (section.inner_text() for section in pairs.first.locator("section").all())
    message = example.split("\n")[example.split("\n").index("message") + 1]
    assert message in row
    (tmp_path / "parquet").mkdir()
    rows = download(page, tmp_path / "parquet")
    assert len(rows) == 30 and rows[0]["message"] == message
    report = json.loads((tmp_path / "parquet" / "support-triage" / "report.json").read_text())
    assert report["requests"] == 0 and report["from_journal"], "the sample's answers are there from the start"
    page.get_by_label("JSON Lines").check()
    page.get_by_role("button", name="(JSON Lines, zip)").wait_for()
    (tmp_path / "jsonl").mkdir()
    texts = download(page, tmp_path / "jsonl")
    assert texts["team"] == [rows.features["team"].int2str(label) for label in rows["team"]]
    for width, scheme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for faint in ("#made .about span", "#made dt", "#made dd"):
            assert contrast(page, faint) >= 4.5


def contrast(page: Any, selector: str) -> float:
    """Return the contrast of a text with the card behind it, as WCAG 2 measures it."""
    found = page.evaluate(
        """selector => { const text = document.querySelector(selector); return [text, text.closest('.card')]
           .map((one, i) => getComputedStyle(one)[i ? 'backgroundColor' : 'color'].match(/[\\d.]+/g).map(Number)) }""",
        selector,
    )
    light, dark = sorted((luminance(*colour[:3]) for colour in found), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(*colour: float) -> float:
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_is_wrong_is_said_on_the_page_and_runs_nothing(visit: Callable[[], Any]) -> None:
    page = visit()
    field(page, "Examples").fill(f"{HOSTILE} | {HOSTILE}")
    press(page, "Make the dataset")
    said = await_status(page, "Not done.")
    assert f"label {HOSTILE}" in said and "Traceback" not in said
    field(page, "Labels").fill("")
    press(page, "Make the dataset")
    assert "The few-shot teacher only labels rows" in await_status(page, "few-shot")
    assert page.title() == "Rebase"


def test_a_run_is_stopped_and_a_visitor_who_goes_takes_their_folder_with_them(
    app: App, visit: Callable[[], Any]
) -> None:
    before = set(app.visitors())
    page, other = visit(), visit()
    field(page, "Examples").fill("My parcel is lost. | delivery\nThe app crashes. | technical")
    press(page, "Make the dataset")
    await_status(page, "a small model learns")
    (folder,) = set(app.visitors()) - before
    with pytest.raises(HTTPError, match="403"):
        urlopen(f"{app.url}/gradio_api/file={folder / 'home' / 'journal.sqlite'}")
    press(other, "Make the dataset")
    press(page, "Stop")
    assert "Stopped." in await_status(page, "Stopped.")
    await_status(other, "The dataset is made.")
    page.close()
    until = time.monotonic() + 60
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert not folder.exists() and len(set(app.visitors()) - before) == 1
