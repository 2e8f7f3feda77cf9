"""`python -m nimad.migrate_to_ladybug`: the legacy guide's command, as a face of `nimactl migrate`.

It hands the graph.sqlite to the running daemon, waits until every row is verified, and prints the
progress.  `--start-offset` is hardly ever needed: what was interrupted goes on by itself.

Exit codes are those of nimactl(1); 0 means that everything is verified.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nimad.config import Config, load
from nimad.ctl.main import main as nimactl
from nimad.errors import ConfigError, NimadError
from nimad.health_check import DEFAULT_DB
from nimad.openclaw import Wish, read_wish


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nimad.migrate_to_ladybug",
        description="Take a legacy graph.sqlite over into nimad, whose graph is a LadybugDB; the"
        " source is only read. It needs a running nimad; `nimactl migrate` does the same and more.",
        epilog="exit codes are those of nimactl(1): 0 when every row is verified",
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help="rows at a time; by default the batches follow free memory",
    )
    parser.add_argument("--dry-run", action="store_true", help="only report; nothing is written")
    parser.add_argument(
        "--start-offset", metavar="N", type=int, help="leave the first N memories out"
    )
    parser.add_argument(
        "--auto",
        action="store_true",
        help="do what the OpenClaw file named by `openclaw.config` in nimad.yaml wishes",
    )
    parser.add_argument(
        "--db", metavar="PATH", default=None, help=f"the store (default: {DEFAULT_DB})"
    )
    parser.add_argument("--config", metavar="F", type=Path, help="read this nimad.yaml")
    parser.add_argument("--socket", metavar="PATH", help="nimad's socket")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `nimactl migrate` with what the options mean; its exit code."""
    args = _parser().parse_args(argv)
    try:
        wish = Wish()
        if args.auto:
            config: Config = load(args.config)
            if not config["openclaw.config"]:
                raise ConfigError(
                    path=config.path or "(defaults)", detail="--auto needs the key openclaw.config"
                )
            wish = read_wish(Path(config["openclaw.config"]))
    except NimadError as error:
        if args.json:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}))
        print(error.sentences, file=sys.stderr)
        return error.exit
    if args.auto and not wish.migrate:
        result = {"migrated": False, "reason": wish.reason}
        print(json.dumps(result) if args.json else f"Nothing was migrated: {wish.reason}.")
        return 0
    batch = args.batch_size if args.batch_size is not None else wish.batch_size
    path = Path(args.db or wish.database or DEFAULT_DB).expanduser()
    command = ["migrate", str(path), "--strategy", "full"]
    command += ["--dry-run"] if args.dry_run else ["--wait"]
    if batch:
        command += ["--batch-size", str(batch)]
    if args.start_offset:
        command += ["--start-offset", str(args.start_offset)]
    shared = ["--json"] if args.json else []
    shared += ["--socket", args.socket] if args.socket else []
    return nimactl([*command, *shared])


if __name__ == "__main__":
    sys.exit(main())
