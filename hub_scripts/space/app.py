"""A Space: describe a task, see the rows that are retrieved for it and what they become, download the dataset.

    python hub_scripts/space/app.py

README.md, beside this file, says what it needs and which environment variables it reads.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr  # noqa: E402 - it reads the environment when it is imported
from rebase_space.download import Format, write_zip  # noqa: E402
from rebase_space.finding import find_rows  # noqa: E402
from rebase_space.form import MIN_ROWS, Form, form_of, read_number, read_task  # noqa: E402
from rebase_space.running import answer_sample, run_for  # noqa: E402
from rebase_space.settings import Settings, find_examples, open_index, sample_task  # noqa: E402
from rebase_space.shown import show_error, show_found, show_made, show_progress, show_said  # noqa: E402
from rebase_space.visits import Visit, Visits  # noqa: E402

from rebase_hf import RowIndex  # noqa: E402
from rebase_hf.errors import RebaseError  # noqa: E402
from rebase_hf.run_folder import read_report  # noqa: E402

logger = logging.getLogger("rebase_space")

DEFAULT_EXAMPLES = 30
WAITING = 20
CACHE_SECONDS = (600, 3600)
# Fields that are at least so wide stand one below the other on a phone.
WIDE = 260
FORMATS: dict[Format, str] = {"parquet": "Parquet", "jsonl": "JSON Lines"}
EMPTY = Form("", "", "", "", "text", "label", DEFAULT_EXAMPLES)
CSS = Path(__file__).parent / "rebase_space" / "page.css"
# Said to screen readers as it changes.
LIVE = "element.setAttribute('role', 'status'); element.setAttribute('aria-live', 'polite');"
INTRODUCTION = """# Rebase: a dataset for your task, made from rows that exist

Describe a task and give a handful of examples. Rows are retrieved from many datasets by meaning; a teacher turns each
into an example of the task; every example says which row it came from and under which licence.
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """What visitors share: how the Space runs, the index, and where each visitor's folder is."""

    settings: Settings
    index: RowIndex
    visits: Visits
    sample: Form

    def retrieve(self, *typed: Any) -> tuple[str, str]:
        """Return the status and the rows that a form's task finds."""
        try:
            form = Form(*typed)
            task, number = read_task(form), read_number(form, self.settings.max_examples)
            found = find_rows(task, self.index, number)
        except RebaseError as error:
            return show_error(error), ""
        return show_said(f"{len(found.rows)} rows were found for `{task.name}`."), show_found(found)

    def make(self, request: gr.Request, format: Format, *typed: Any) -> Iterator[tuple[Any, ...]]:
        """Yield status, rows, dataset and download while a form's dataset is made."""
        visit = self.visits.of(str(request.session_hash))
        nothing = gr.Group(visible=False), gr.skip()
        try:
            form = Form(*typed)
            task, number = read_task(form), read_number(form, self.settings.max_examples)
            yield show_said("Retrieving rows."), "", "", *nothing
            found = show_found(find_rows(task, self.index, number))
            for progress in run_for(visit, task, number, self.index.path, self.settings):
                yield show_progress(progress, self.doing), found, "", *nothing
            made = show_made(visit.run)
            offer = (gr.Group(visible=True), download(visit, format)) if has_examples(visit) else nothing
            yield show_said("The dataset is made."), found, made, *offer
        except RebaseError as error:
            yield show_error(error), gr.skip(), "", *nothing

    def pack(self, request: gr.Request, format: Format) -> Any:
        """Return the download in another format, where there is a dataset."""
        visit = self.visits.of(str(request.session_hash))
        return download(visit, format) if has_examples(visit) else gr.skip()

    def stop(self, request: gr.Request) -> None:
        """End what is done for a visitor."""
        self.visits.of(str(request.session_hash)).stop()

    def leave(self, request: gr.Request) -> None:
        """Forget a visitor whose page was closed."""
        self.visits.leave(str(request.session_hash))

    @property
    def doing(self) -> str:
        """What a visitor waits for before the first example."""
        if self.settings.is_free:
            return "a small model learns from your examples, which takes a minute or two."
        return "the teacher is asked."


def has_examples(visit: Visit) -> bool:
    """Whether a visitor has a dataset with rows in it."""
    return (visit.run / "report.json").is_file() and read_report(visit.run)["examples"] > 0


def download(visit: Visit, format: Format) -> Any:
    """Return the button that gives a visitor their dataset."""
    report = read_report(visit.run)
    target = write_zip(visit.run, visit.folder / f"{report['task']['name']}-{format}.zip", format)
    return gr.DownloadButton(f"Download {report['examples']} examples ({FORMATS[format]}, zip)", value=str(target))


def build_page(desk: Desk) -> gr.Blocks:
    """Return the page."""
    with gr.Blocks(title="Rebase", delete_cache=CACHE_SECONDS) as page:
        gr.Markdown(INTRODUCTION)
        typed = _form(desk)
        with gr.Row():
            retrieve = gr.Button("Retrieve rows")
            make = gr.Button("Make the dataset", variant="primary")
            stop = gr.Button("Stop")
        status = gr.HTML(elem_id="status", js_on_load=LIVE)
        with gr.Group(visible=False) as offer:
            format = gr.Radio([(name, key) for key, name in FORMATS.items()], value="parquet", label="Download as")
            button = gr.DownloadButton("Download", variant="primary")
        made = gr.HTML(elem_id="made", elem_classes="shown", js_on_load=None)
        with gr.Accordion("Retrieved rows", open=True):
            rows = gr.HTML(elem_id="rows", elem_classes="shown", js_on_load=None)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        shown: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "show_progress_on": status}
        retrieve.click(desk.retrieve, typed, [status, rows], concurrency_id="index", concurrency_limit=2, **shown)
        limit = desk.settings.runs_at_once
        make.click(desk.make, [format, *typed], [status, rows, made, offer, button], concurrency_limit=limit, **shown)
        stop.click(desk.stop, queue=False, **quiet)
        format.change(desk.pack, format, button, **quiet)
        page.unload(desk.leave)
    return page


def _form(desk: Desk) -> list[Any]:
    """Return the form's fields, in the order of Form's."""
    name, instruction, labels, examples, inputs, output, number = astuple(desk.sample)
    with gr.Row():
        named = gr.Textbox(name, label="Task name", max_lines=1, min_width=WIDE)
        told = gr.Textbox(instruction, label="Instruction", lines=2, max_lines=6, scale=2, min_width=WIDE)
    with gr.Row():
        classes = gr.Textbox(
            labels,
            label="Labels",
            info="One a line, with a phrase that describes a text with it. None for a task that writes texts.",
            lines=8,
            max_lines=12,
            min_width=WIDE,
        )
        shots = gr.Textbox(
            examples,
            label="Examples",
            info="One a line, the answer last, behind | or a tab (paste from a table), or a JSON object.",
            lines=8,
            max_lines=12,
            min_width=WIDE,
            scale=2,
        )
    with gr.Row():
        fields = gr.Textbox(inputs, label="Input fields", info="With commas between.", max_lines=1, min_width=WIDE)
        answer = gr.Textbox(
            output, label="Output field", info="What the answer is called.", max_lines=1, min_width=WIDE
        )
        most = desk.settings.max_examples
        count = gr.Slider(MIN_ROWS, most, min(number, most), step=1, label="Number of examples", min_width=WIDE)
    gr.Markdown(_about(desk))
    return [named, told, classes, shots, fields, answer, count]


def _about(desk: Desk) -> str:
    """Return who the teacher is and what is retrieved from, in Markdown."""
    datasets = len({source.dataset for source in desk.index.sources})
    from_rows = f"Rows come from {len(desk.index):,} rows of {datasets} datasets."
    if desk.settings.is_free:
        return (
            f"{from_rows} The teacher here is `few-shot`: a small model that learns from your examples and labels "
            "rows as they stand. It needs labels, and turns no row into another text; a language model does."
        )
    return f"{from_rows} The teacher here is `{desk.settings.teacher.model or desk.settings.teacher.target}`."


def serve() -> None:
    """Open the index, build the page and serve it until the process is told to end."""
    settings = Settings.from_environment(os.environ)
    examples = find_examples()
    index = open_index(settings, examples)
    task = None if examples is None else sample_task(examples)
    visits = Visits(None if task is None else answer_sample(settings, index.path, task, DEFAULT_EXAMPLES))
    form = EMPTY if task is None else form_of(task, DEFAULT_EXAMPLES)
    page = build_page(Desk(settings, index, visits, form))
    fonts = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(primary_hue="blue", font=fonts, font_mono=["ui-monospace", "monospace"])
    try:
        page.queue(max_size=WAITING).launch(
            theme=theme,
            css=CSS.read_text(encoding="utf-8"),
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            max_file_size="1kb",
            ssr_mode=False,
            pwa=False,
            share=False,
        )
    finally:
        visits.close()


def main() -> None:
    """Serve; end with one line where that can't be done."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _end)
    try:
        serve()
    except RebaseError as error:
        sys.exit(f"Error: {error}")


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
