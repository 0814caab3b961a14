"""The report in a real browser: at phone and desktop width, light and dark, with 20,000 rows. `make test-slow`."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rebase_hf.publish.report import write_report
from tests.publish.example_run import make_rows, write_run

BROWSER = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is installed here"),
]
ROWS = 20_000
# A headless window is at least 500 wide: the page stands in a frame of the width that is asked for.
FRAME = """<!doctype html><style>body{{margin:0}}</style>
<iframe id="page" src="{page}" style="width:{width}px;height:900px;border:0"></iframe><pre id="told"></pre>
<script>onload = () => {{
  const content = page.contentDocument, root = content.documentElement, find = content.getElementById("find");
  const loaded = performance.now();
  const outside = [...content.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > {width} + 1 && !element.closest(".scroll"))
    .map((element) => element.tagName + "." + element.className);
  const first = content.getElementById("where").textContent;
  content.querySelector("#rows details").open = true;
  find.value = "tail19999";
  find.dispatchEvent(new Event("input"));
  setTimeout(() => {{ told.textContent = JSON.stringify({{
    scroll: root.scrollWidth, outside, loaded, first, found: content.getElementById("where").textContent,
    ground: getComputedStyle(content.body).backgroundColor, shown: content.querySelectorAll(".row").length,
  }}) + "end"; }}, 3000);
}}</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    few = make_rows("teacher")
    rows = []
    for number in range(ROWS):
        row = few[number % len(few)]
        source = row["sources"][0] | {"row": number}
        made_from = row["provenance"] | {"row": number, "prompt_id": f"{number:064x}"}
        long = "w" * 300 if number % 7 == 0 else ""
        text = f"{row['message']} {long} tail{number}"
        rows.append(row | {"message": text, "provenance": made_from, "sources": [source]})
    return write_report(write_run(folder / "run", rows))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_twenty_thousand_rows_fit_any_width(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        *scheme,
    ]
    command += [f"--user-data-dir={tmp_path}/profile", f"--window-size={max(width, 500)},900", "--dump-dom"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=20000", frame.as_uri()], capture_output=True, text=True, timeout=180
    )
    told = json.loads(re.search(r'<pre id="told">(.*?)end</pre>', done.stdout, re.DOTALL)[1])
    assert told["scroll"] == width and told["outside"] == []
    assert told["first"] == "20,000 rows, page 1 of 800" and told["found"] == "1 row, page 1 of 1"
    assert told["shown"] == 1 and told["loaded"] < 10_000
    light = sum(int(part) for part in re.findall(r"\d+", told["ground"])[:3]) > 380
    assert light != dark
