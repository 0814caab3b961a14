"""The lines that a card tells its reader to run, run as they stand there."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.students import train_student
from tests.doubles.hub_server import HubServer
from tests.doubles.tiny_models import make_bert, make_sentence_encoder
from tests.publish.example_run import make_rows, write_run

OnHub = Callable[..., Any]
LABELS = {"billing", "technical", "delivery"}
# What a reader does: takes the card from the Hub (or the folder) and runs the blocks of Python in it, one by one.
READ = """
    import os, re
    from huggingface_hub import DatasetCard, ModelCard
    def run_blocks(card):
        made = {}
        blocks = re.findall(r"^```python\\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
        for block in blocks:
            exec(block, made)
        return len(blocks), made
"""
PUSH = """
    from rebase_hf.publish.hub import push_dataset, push_student
    push_dataset(sys.argv[1], "org/triage")
    push_student(sys.argv[1], "org/triager", dataset_id="org/triage")
    result = None
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a run with a student of a kind, trained on its rows."""

    @cache
    def train(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        base = make_bert(folder / "bert") if kind == "encoder" else make_sentence_encoder(folder)
        rows = make_rows("t")
        run = write_run(folder / "run", rows)
        for file in (run / "student").iterdir():
            file.unlink()
        (run / "student").rmdir()
        task = {"name": "support-triage", "instruction": "Decide.", "inputs": ["message"], "output": "team"}
        task |= {"labels": sorted(LABELS), "examples": [{"message": "I was charged twice.", "team": "billing"}]}
        plain = [{"message": row["message"], "team": row["team"]} for row in rows]
        train_student(task, plain, kind=kind, base_model=base, max_pairs=8, output_dir=run / "student")
        return run

    return train


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "blocks", "plain"), [("linear", 2, "model"), ("encoder", 2, "classify")])
def test_the_lines_of_both_cards_run_as_a_reader_runs_them(
    hub: HubServer, on_hub: OnHub, trained: Callable[[str], Path], kind: str, blocks: int, plain: str
) -> None:
    run = trained(kind)
    on_hub(PUSH, run)
    count, splits, team, columns = on_hub(f"""{READ}
    count, made = run_blocks(DatasetCard.load("org/triage").content)
    dataset = made["dataset"]
    named = dataset["train"].features["team"].names
    result = [count, {{name: len(rows) for name, rows in dataset.items()}}, named, dataset["train"].column_names]
    """)
    assert (count, splits) == (1, {"train": 54, "validation": 6})
    assert set(team) == LABELS and columns == ["message", "team", "provenance", "sources"]
    count, said, alone = on_hub(f"""{READ}
    count, made = run_blocks(ModelCard.load("org/triager").content)
    texts = ["I was charged twice in May.", "The app closes."]
    alone = made["{plain}"](texts)
    alone = [one["label"] for one in alone] if "{plain}" == "classify" else list(alone)
    result = [count, made["student"].predict(texts), alone]
    """)
    assert count == blocks and said == alone and set(said) <= LABELS


@pytest.mark.slow
def test_the_lines_of_cards_in_a_run_folder_run_there(on_hub: OnHub, trained: Callable[[str], Path]) -> None:
    run = trained("linear")
    (run / "README.md").write_text(render_dataset_card(run))
    (run / "student" / "README.md").write_text(render_student_card(run))
    loaded, predicted = on_hub(f"""{READ}
    os.chdir(os.path.dirname(sys.argv[1]))
    loaded = run_blocks(open("run/README.md").read())[1]["dataset"]
    os.chdir("run")
    predicted = run_blocks(open("student/README.md").read())[1]["student"].predict(["The app closes."])
    result = [loaded.num_rows, predicted]
    """, run)  # fmt: skip
    assert loaded == {"train": 54, "validation": 6} and set(predicted) <= LABELS
