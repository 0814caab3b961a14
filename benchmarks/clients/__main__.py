"""Our client beside others: CPU, throughput, a kill on the way, a server that refuses; all on one loopback server.

Each peer is installed into an environment of its own first, and driven by a small file in `drivers/`. A client is
measured whole before the next is; of a peer that can't be installed, the results say why.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import Line, parser, report
from benchmarks.clients.environments import Environment, installed
from benchmarks.clients.peers import CLIENTS, OURS
from benchmarks.clients.scenarios import (
    Bench,
    Counted,
    NotWholeError,
    cpu,
    defaults,
    full,
    killed,
    scattered,
    throughput,
)
from benchmarks.clients.shown import rounded, shown_of

SCENARIOS = {
    "cpu": cpu,
    "throughput": throughput,
    "defaults": defaults,
    "killed": killed,
    "scattered": scattered,
    "full": full,
}
SPEED = ("cpu", "throughput")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1000)
    made.add_argument("--rounds", type=int, default=3, help="of what is cheap enough to be measured again")
    made.add_argument("--only", nargs="+", choices=[client.name for client in CLIENTS], metavar="CLIENT")
    made.add_argument("--scenario", nargs="+", choices=SCENARIOS, metavar="SCENARIO")
    made.add_argument("--install-anew", action="store_true", help="make the peers' environments again")
    made.add_argument("--install-only", action="store_true", help="make the peers' environments, and no more")
    options = made.parse_args()
    wanted = [client for client in CLIENTS if not options.only or client.name in options.only]
    packages = dict.fromkeys(client.package for client in wanted if client.package is not None)
    environments = {package: installed(package, anew=options.install_anew) for package in packages}
    if options.install_only:
        return
    lines = [_install_line(package.name, package.title, found) for package, found in environments.items()]
    with tempfile.TemporaryDirectory(prefix="rebase-clients-") as material:
        for client in wanted:
            environment = environments[client.package] if client.package is not None else None
            if environment is not None and environment.error:
                continue
            python = sys.executable if environment is None else environment.python
            bench = Bench(client, python, options.rows, options.rounds, Path(material))
            bench.prepare()
            names = options.scenario or list(SCENARIOS)
            lines += _measured(bench, [name for name in names if not client.speed_only or name in SPEED])
    report("clients", made, options, lines)


def _install_line(name: str, title: str, found: Environment) -> Line:
    shown = found.error or ("as documented" if not found.documented else f"repaired, before: {found.documented}")
    details = {"documented": found.documented, "error": found.error, "made": found.made, "versions": found.versions}
    return Line(f"install.{name}", f"{title} installs and imports", shown, details=details)


def _measured(bench: Bench, scenarios: Sequence[str]) -> list[Line]:
    client, lines = bench.client, []
    for name in scenarios:
        began = time.perf_counter()
        try:
            found: Counted = SCENARIOS[name](bench)
        except NotWholeError as error:
            found = {"failed": str(error)}
        found["took"] = round(time.perf_counter() - began, 1)
        line = Line(
            f"{name}.{client.name}",
            f"{client.title}, {name}",
            shown_of(name, found),
            # Only our own client has something to reach: that no row is missing.
            target="all rows" if client.name == OURS else None,
            met=_all_rows(found) if client.name == OURS else None,
            details=rounded(found),
        )
        print(f"{client.name} {name}: {line.shown} ({found['took']:.0f} s)", flush=True)
        lines.append(line)
    return lines


def _all_rows(found: Counted) -> bool:
    if "failed" in found:
        return False
    return found.get("right", found["rows"]) == found["rows"] and not any(found.get("missing", ()))


if __name__ == "__main__":
    main()
