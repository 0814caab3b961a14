"""The clients that are compared: what each is installed by, which driver drives it, and how it is set."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """A peer's package, in an environment of its own.

    Attributes:
        name: Of the environment's folder.
        title: What the page calls it.
        requirements: What its own documentation says to install, at its newest version.
        repairs: What has to be added, or held back, for it to import today; tried only where the documented line
            does not do.
        imports: A statement that fails where the peer can't be used.
        versions: The distributions whose versions the results name.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    imports: str
    versions: tuple[str, ...]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Client:
    """One way to use a package, or our own.

    Attributes:
        name: What `--only` and the results know it by.
        title: What the page calls it.
        driver: The file in `drivers/` that uses it.
        package: What has to be installed; None for what this project's own environment holds.
        mode: Handed to the driver, where it knows several.
        speed_only: It is no client, and stands beside them for its speed.
        best: How it is set when so many are to be in flight, in words.
        defaults: What its own settings are, in words.
    """

    name: str
    title: str
    driver: str
    package: Package | None
    best: str
    defaults: str
    mode: str = ""
    speed_only: bool = False


DISTILABEL = Package(
    "distilabel",
    "distilabel",
    ("distilabel[openai,hf-inference-endpoints]==1.5.3",),
    "from distilabel.models import InferenceEndpointsLLM, OpenAILLM; from distilabel.pipeline import Pipeline",
    ("distilabel", "openai", "huggingface_hub", "httpx", "datasets"),
    repairs=("requests",),
)
CURATOR = Package(
    "curator",
    "curator",
    ("bespokelabs-curator==0.1.31",),
    "from bespokelabs import curator",
    ("bespokelabs-curator", "aiohttp", "litellm", "datasets"),
)
DATA_DESIGNER = Package(
    "data_designer",
    "Data Designer",
    # 0.9.7 is out, and asks for a newer certifi than could be had when this was written.
    ("data-designer==0.9.6",),
    "from data_designer.interface import DataDesigner",
    ("data-designer", "httpx", "huggingface_hub", "pandas"),
)
DATADREAMER = Package(
    "datadreamer",
    "DataDreamer",
    ("datadreamer.dev==0.46.0",),
    "from datadreamer import DataDreamer; from datadreamer.llms import OpenAI; from datadreamer.steps import Prompt",
    ("datadreamer.dev", "openai", "datasets", "pyarrow", "torch"),
    repairs=("datasets==3.2.0", "pyarrow<20"),
)
DATATROVE = Package(
    "datatrove",
    "datatrove",
    # Not its extra `inference`, which brings vLLM and SGLang: an endpoint is asked, no model is run.
    ("datatrove[io]==0.10.1", "httpx", "aiosqlite", "aiofiles", "xxhash", "orjson", "openai"),
    "from datatrove.pipeline.inference.run_inference import InferenceRunner",
    ("datatrove", "aiosqlite", "openai"),
)
OURS = "rebase_hf"
CLIENTS = (
    Client(
        OURS,
        "rebase_hf, all of `generate()`",
        "drive_ours",
        None,
        best="`Teacher(max_concurrency=N)`",
        defaults="a window that starts at 16 and grows while the server takes all",
    ),
    Client(
        "bare",
        "bare aiohttp, nothing kept",
        "drive_bare",
        None,
        best="N workers",
        defaults="",
        speed_only=True,
    ),
    Client(
        "datatrove",
        "datatrove, checkpoints",
        "drive_datatrove",
        DATATROVE,
        best="`max_concurrent_generations=N`, `checkpoints_local_dir`",
        defaults="500 in flight",
    ),
    Client(
        "datatrove_bare",
        "datatrove, nothing kept",
        "drive_datatrove",
        DATATROVE,
        best="`max_concurrent_generations=N`",
        defaults="500 in flight",
        mode="bare",
    ),
    Client(
        "datatrove_remote",
        "datatrove, checkpoints, as it asks another machine",
        "drive_datatrove",
        DATATROVE,
        best="`max_concurrent_generations=N`, `checkpoints_local_dir`; it goes through the OpenAI SDK",
        defaults="500 in flight",
        mode="remote",
    ),
    Client(
        "curator",
        "curator",
        "drive_curator",
        CURATOR,
        best="`max_concurrent_requests=N`, requests and tokens a minute without limit",
        defaults="200 requests a minute, where the server's headers name no limit",
    ),
    Client(
        "data_designer",
        "Data Designer",
        "drive_data_designer",
        DATA_DESIGNER,
        best="`max_parallel_requests=N`, `buffer_size=N`",
        defaults="`max_parallel_requests=4`, `buffer_size=1000`",
    ),
    Client(
        "datadreamer",
        "DataDreamer, OpenAI",
        "drive_datadreamer",
        DATADREAMER,
        best="`batch_size=N`",
        defaults="`batch_size=10`",
    ),
    Client(
        "distilabel_tgi",
        "distilabel, InferenceEndpointsLLM",
        "drive_distilabel",
        DISTILABEL,
        best="`input_batch_size=N`",
        defaults="`input_batch_size=50`",
        mode="tgi",
    ),
    Client(
        "distilabel_openai",
        "distilabel, OpenAILLM",
        "drive_distilabel",
        DISTILABEL,
        best="`input_batch_size=N`",
        defaults="`input_batch_size=50`",
        mode="openai",
    ),
)
