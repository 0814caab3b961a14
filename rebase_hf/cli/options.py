"""The options that commands share."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from rebase_hf.teacher.target import DialectName

# What stands below the help of every command.
EPILOG = "--debug, with any command: log everything, and show an error's traceback."
MAX_PAIRS = 1200
DIALECTS = f"One of {', '.join(get_args(DialectName))}."

TaskFile = Annotated[str, typer.Argument(help="The task file, or the id of a Hub dataset that holds a task.yaml.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, as `run` and `generate` write it.")]
Index = Annotated[
    str | None,
    typer.Option(help="The index folder, or the id of a Hub repository that holds one; only `fewgen` needs none."),
]
StudentIndex = Annotated[
    str | None,
    typer.Option("--index", help="Where a student of method `kard` finds its passages: an index folder or Hub id."),
]
TeacherTarget = Annotated[
    str,
    typer.Option(help="A URL, a model id, endpoint:NAMESPACE/NAME, local:FOLDER_OR_MODEL_ID, few-shot, or none."),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the method; may stand several times."),
]
Checks = Annotated[
    list[str] | None,
    typer.Option("--check", metavar="NAME=VALUE", help="An option of the checks; may stand several times."),
]
Output = Annotated[Path | None, typer.Option(help="The run folder; default runs/NAME of the task.")]
NumExamples = Annotated[int, typer.Option(min=1, help="Examples wanted for training.")]
NumValidation = Annotated[int, typer.Option(min=0, help="Examples wanted for a validation split, besides.")]
Seed = Annotated[int, typer.Option(help="Decides everything random.")]
Model = Annotated[str | None, typer.Option(help="Which of the server's models.")]
ApiKeyEnv = Annotated[str | None, typer.Option(help="NAME of the environment variable that holds the teacher's key.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature; default the method's.")]
MaxTokens = Annotated[int | None, typer.Option(help="Longest answer, in tokens.")]
MaxConcurrency = Annotated[int | None, typer.Option(help="Most requests in flight; default what the server takes.")]
MaxRequests = Annotated[int | None, typer.Option(help="Stop after so many requests.")]
MaxTokensTotal = Annotated[int | None, typer.Option(help="Stop after so many tokens.")]
MaxCost = Annotated[float | None, typer.Option(help="Stop at this cost; needs --price.")]
Price = Annotated[tuple[float, float] | None, typer.Option(help="Price of a million prompt and completion tokens.")]
Timeout = Annotated[float, typer.Option(help="Seconds that one request may take in all.")]
GiveUpAfter = Annotated[str, typer.Option(help="Stop when nothing has succeeded for so long: 90s, 10m, 1h.")]
AllowFewer = Annotated[bool, typer.Option("--allow-fewer", help="Fewer examples than wanted are no failure.")]
AllowQuarantined = Annotated[
    float, typer.Option(help="Share of outputs that may be unusable before it is a failure, from 0 to 1.")
]
MaxPerSource = Annotated[int | None, typer.Option(min=0, help="Rows of one source at most; 0 for no limit.")]
AsPublished = Annotated[
    bool, typer.Option("--as-published", help="Retrieve as the paper's code does, its known failures included.")
]
BaseModel = Annotated[str | None, typer.Option(help="What the student is trained from.")]
Seeds = Annotated[int, typer.Option(min=1, help="Train student and baseline this many times, to show the spread.")]
MaxPairs = Annotated[
    int, typer.Option(min=1, help="Pairs (SetFit) or rows (others) shown in training, the same for every student.")
]
StudentKindName = Annotated[
    str | None,
    typer.Option(
        "--student-kind",
        metavar="KIND",
        help="setfit, encoder, linear, extractive, seq2seq, causal or grounded; default what the task asks for.",
    ),
]
StudentOptions = Annotated[
    list[str] | None,
    typer.Option("--student-option", metavar="NAME=VALUE", help="An option of the student's kind; may be repeated."),
]
NoPickle = Annotated[
    bool, typer.Option("--no-pickle", help="Leave out SetFit's pickled head; plain SetFit then finds none.")
]
Method = Annotated[str, typer.Option(help="How rows become examples: rebase, synthesizrr, kard, fewgen or retrieved.")]
ConsultStudent = Annotated[
    str | None,
    typer.Option(
        help="A run folder, a student's folder or a Hub id: its label and confidence for a text go into the teacher's "
        "prompt."
    ),
]
Dialect = Annotated[
    str | None, typer.Option(help=f"How the server takes a JSON schema; default found out. {DIALECTS}")
]
Provider = Annotated[str | None, typer.Option(help="Which Inference Provider, for a model id; default auto.")]
BillTo = Annotated[str | None, typer.Option(help="Which organisation pays, for a model id.")]
PauseAfter = Annotated[bool, typer.Option("--pause-after", help="Pause an endpoint:NAME when the run is over.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Estimate requests, tokens and cost; nothing that costs is sent.")
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Ask again what failed of this run's questions; what was answered stays as it is."
    ),
]
Private = Annotated[
    bool | None,
    typer.Option(
        "--private/--public",
        help="Who may see what is published. Default: private where a source of the rows is private, gated or yours "
        "under no stated licence; else the account's setting.",
    ),
]
TeacherLicenseId = Annotated[
    str | None,
    typer.Option(
        "--teacher-license",
        metavar="ID",
        help="The licence of the teacher's model, as apache-2.0 or llama3.1; default what its card says.",
    ),
]
