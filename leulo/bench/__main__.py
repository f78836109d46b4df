"""``python -m leulo.bench``: measure, print a table, and the figures as JSON if asked."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from leulo.bench import plan, report
from leulo.errors import EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, LeuloError


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m leulo.bench",
        description="Leulo beside this computer's own TCP.",
        epilog="Exit codes: 0 every goal is met; 1 one is missed, or a request failed, which the "
        "last line says; 2 a flag is wrong; 5 this computer lacks something; 130 interrupted.",
    )
    parser.add_argument(
        "--seconds", type=float, default=68.0, metavar="N",
        help="how long all measurements take together, about (default: 68)",
    )  # fmt: skip
    parser.add_argument(
        "--no-network", action="store_true", help="only what needs neither root nor a network"
    )
    parser.add_argument(
        "--congestion", default="", metavar="NAME",
        help="Linux's congestion control, on which the rows of bulk depend (default: this "
        "computer's own; the table's title names it)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    if not plan.LEAST_SECONDS <= arguments.seconds <= 3600:
        parser.error(f"--seconds {arguments.seconds:g}: write {plan.LEAST_SECONDS} to 3600")
    signal.signal(signal.SIGTERM, _stop)  # so that the namespaces are deleted then too
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    try:
        results = plan.run(
            arguments.seconds,
            lambda words: print(f"bench: {words}", file=sys.stderr, flush=True),
            network=not arguments.no_network,
            congestion=arguments.congestion,
        )
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(report.plain(results), indent=2) + "\n")
    except LeuloError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    report.show(results, console)
    return judge(results)


def judge(results: plan.Results) -> int:
    """The exit code; what is not as wanted is said in a sentence, the last thing printed."""
    missed = report.missed(results)
    if not missed:
        return EXIT_OK
    sys.stdout.flush()
    print(f"bench: missed: {'; '.join(missed)}", file=sys.stderr)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
