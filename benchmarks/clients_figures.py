"""Put what `benchmarks.clients` measured into docs/clients.md.

python -m benchmarks.clients_figures            # from benchmarks/results into docs/clients.md
python -m benchmarks.clients_figures --check    # does docs/clients.md say what benchmarks/results holds?
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.clients.peers import CLIENTS, OURS, Client
from benchmarks.clients.shown import ended, spread
from benchmarks.figures_page import FiguresPage, Results, made_by

Details = Mapping[str, Any]
Measured = Mapping[str, Details]


class ClientsPage(FiguresPage):
    """The page's figures: a table a question, a row a client."""

    def table(self, results: Results) -> str:
        """Return the tables as Markdown."""
        (result,) = results.values()
        measured = {line["key"]: line["details"] for line in result["lines"]}
        parts = [
            speed_table(measured),
            kill_table(measured),
            refusals_table(measured, "scattered", "one first try in five is refused"),
            refusals_table(measured, "full", "a server of 16 slots"),
            settings_table(measured, result["packages"]["rebase-hf"]),
        ]
        return "\n\n".join([*parts, f"{made_by(results)} {self.circumstances}"])


def speed_table(measured: Measured) -> str:
    """Return CPU and rows a second."""
    rows = next((about["rows"] for key, about in measured.items() if key.startswith("throughput.")), 0)
    heads = [
        "CPU per row, ms",
        f"rows/s while asking, {rows} rows, 100 in flight, 200 ms",
        "rows/s of the whole call",
        "rows/s with its own settings",
    ]
    return _table(heads, measured, _speed)


def _speed(measured: Measured, client: Client) -> list[str]:
    cpu, fast, own = (measured.get(f"{name}.{client.name}", {}) for name in ("cpu", "throughput", "defaults"))
    at_once = f" ({own['most_at_once']} at once)" if own else ""
    return [
        _spread(cpu, "milliseconds", 2),
        _spread(fast, "asking", 0),
        _spread(fast, "call", 0),
        f"{own['rows_per_second']:.{_digits(own['rows_per_second'])}f}{at_once}" if own else "",
    ]


def kill_table(measured: Measured) -> str:
    """Return what a kill on the way costs."""
    rows = next((about["rows"] for key, about in measured.items() if key.startswith("killed.")), 0)
    heads = [f"requests beyond {rows}", "rows that came out", "the second run's end"]
    return _table(heads, measured, _kill)


def _kill(measured: Measured, client: Client) -> list[str]:
    if not (about := measured.get(f"killed.{client.name}", {})):
        return []
    if not about["killed"]:
        return ["it ended before it could be killed", "", ended(about["exit_code"])]
    came = f"{about['right']} of {about['rows']}"
    if about["right"] < about["rows"]:
        return [f"none beyond; {about['asked_after']} asked by the second run", came, ended(about["exit_code"])]
    return [str(about["extra"]), came, ended(about["exit_code"])]


def refusals_table(measured: Measured, scenario: str, what: str) -> str:
    """Return what happens where a server refuses.

    Args:
        scenario: `scattered` or `full`.
        what: Whom it refuses, in words.
    """
    rows = next((about["rows"] for key, about in measured.items() if key.startswith(f"{scenario}.")), 0)
    heads = [f"{what}, {rows} rows: seconds", "wasted", "rows without an answer", "end"]
    return _table(heads, measured, partial(_refusals, scenario))


def _refusals(scenario: str, measured: Measured, client: Client) -> list[str]:
    if not (about := measured.get(f"{scenario}.{client.name}", {})):
        return []
    stopped = " until it stopped" if any(about["exit_code"]) else ""
    null = f", {_spread(about, 'null', 0)} of them null" if any(about["null"]) else ""
    ends = " or ".join(dict.fromkeys(ended(code) for code in about["exit_code"]))
    missing = f"{_spread(about, 'missing', 0)}{null}"
    return [f"{_spread(about, 'asking', 1)}{stopped}", _spread(about, "wasted", 0), missing, ends]


def settings_table(measured: Measured, version: str) -> str:
    """Return how each was installed and set."""
    rows = [
        "| client | version | the documented line installs and imports | N in flight | its own settings |",
        "|---|---|---|---|---|",
    ]
    for client in CLIENTS:
        package = client.package
        if package is None:
            told, number = "", version if client.name == OURS else ""
        elif (found := measured.get(f"install.{package.name}")) is None:
            continue
        else:
            told, number = _installed(client, found), found["versions"].get(package.versions[0], "")
        rows.append(f"| {_title(client)} | {number} | {told} | {client.best} | {client.defaults} |")
    return "\n".join(rows)


def _installed(client: Client, found: Details) -> str:
    assert client.package is not None
    if found["error"]:
        return f"no: `{found['error']}`"
    if found["documented"]:
        added = ", ".join(f"`{one}`" for one in client.package.repairs)
        return f"no: `{found['documented']}`; measured with {added} beside"
    return "yes"


def _table(heads: Sequence[str], measured: Measured, cells: Callable[[Measured, Client], list[str]]) -> str:
    rows = [f"| client | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    rows += [
        f"| {_title(client)} | {' | '.join(found)} |"
        for client, found in _filled(measured, cells, len(heads))
        if found
    ]
    return "\n".join(rows)


def _filled(
    measured: Measured, cells: Callable[[Measured, Client], list[str]], width: int
) -> Iterator[tuple[Client, list[str]]]:
    for client in CLIENTS:
        about = measured.get(f"install.{client.package.name}") if client.package else None
        if about and about["error"]:
            yield client, ["not installed", *[""] * (width - 1)]
        else:
            found = cells(measured, client)
            yield client, found if any(found) else []


def _title(client: Client) -> str:
    return f"**{client.title}**" if client.name == OURS else client.title


def _spread(about: Details, key: str, digits: int) -> str:
    if "failed" in about:
        return str(about["failed"])
    return spread(about[key], digits) if key in about else ""


def _digits(figure: float) -> int:
    return 0 if figure >= 10 else 1


CIRCUMSTANCES = (
    "Up to three runs each, what takes long but one: the median, and in brackets the least and the most where they "
    "differ. All runs, and the versions of what each peer brought, are in `benchmarks/results/clients.json`."
)
PAGE = ClientsPage("clients", "docs/clients.md", (), CIRCUMSTANCES)

if __name__ == "__main__":
    PAGE.main()
