"""Set the environment before anything of Hugging Face is imported: its constants are read at import."""

import os
import tempfile

_HOME = tempfile.mkdtemp(prefix="rebase-tests-")
os.environ.update(
    HF_HOME=f"{_HOME}/hf",
    REBASE_HOME=f"{_HOME}/rebase",
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
)
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
    os.environ.pop(name, None)

from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
BANKS = ("webshop_chats", "telecom_tickets", "app_reviews", "parcel_mail")


@pytest.fixture(scope="session")
def bank_index(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An index over four of the example bank's datasets, by an encoder that needs no model."""
    from rebase_hf import RowIndex
    from tests.index.hashing_encoder import HashingEncoder

    folder = tmp_path_factory.mktemp("index") / "bank"
    return RowIndex.build(folder, [str(EXAMPLES / "bank" / name) for name in BANKS], encoder=HashingEncoder())


@pytest.fixture(scope="session")
def model_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index over the same datasets, by a tiny random model that its folder alone can open."""
    from rebase_hf import RowIndex
    from tests.doubles.tiny_models import make_static_encoder

    folder = tmp_path_factory.mktemp("model-index")
    encoder = make_static_encoder(folder)
    return RowIndex.build(folder / "bank", [str(EXAMPLES / "bank" / name) for name in BANKS], encoder=encoder).path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rebase home of the test's own: no answer of another test is in its journal."""
    monkeypatch.setenv("REBASE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _own_datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.fixture
def triage() -> Mapping[str, Any]:
    """A small classification task without an evaluation set."""
    return {
        "name": "desk",
        "instruction": "Decide which desk handles a customer's message.",
        "inputs": ["message"],
        "output": "desk",
        "labels": {"money": "payments and refunds", "parcels": "deliveries", "other": "anything else"},
        "examples": [
            {"message": "I was charged twice for one order.", "desk": "money"},
            {"message": "My parcel has not arrived.", "desk": "parcels"},
        ],
    }
