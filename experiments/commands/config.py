"""`videozoom config schema`: what editors need to know of configuration files."""

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Add the command and its parts to a parser's commands."""
    config = commands.add_parser("config", help="look after configuration files")
    parts = config.add_subparsers(dest="part", required=True, metavar="schema")
    does = "print the JSON schema of configuration files, for editors"
    schema = parts.add_parser("schema", help=does, description=f"{does[0].upper()}{does[1:]}.")
    schema.set_defaults(run=_schema)
    schema.add_argument("--study", action="store_true", help="of study files instead")


def _schema(options: argparse.Namespace) -> int:
    from videozoom.experiments.config_schema import config_schema, study_schema

    print(json.dumps(study_schema() if options.study else config_schema(), indent=2))
    return 0
