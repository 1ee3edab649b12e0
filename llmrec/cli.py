"""The command line: ``llmrec run``, ``llmrec audit`` and the other commands of ``llmrec --help``.

Nothing heavy is imported before a command needs it: ``llmrec --help`` is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import llmrec
from llmrec.core.errors import ConfigError, LlmrecError
from llmrec.core.memory import out_of_memory, passive_waiting

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for an error, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    while given[:1] == ["--debug"]:  # before the command, too
        given = given[1:]
    passive_waiting()  # acts only before torch is loaded
    try:
        if given[:1] == ["run"]:
            from llmrec.experiment.launch import launch

            return launch(given[1:])
        return _dispatch(_parsed(given))
    except SystemExit as exit_:  # argparse and Hydra leave this way
        return exit_.code if isinstance(exit_.code, int) else USAGE if exit_.code else OK
    except KeyboardInterrupt as stop:
        print(f"\nllmrec: interrupted{_how_to_go_on(stop)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough, as in `llmrec list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        return _report_error(error, debug)


def _parsed(given: list[str]) -> argparse.Namespace:
    """Return the options; overrides of ``show`` and ``write`` may stand behind their flags."""
    parser = _parser()
    options, rest = parser.parse_known_args(given)
    if options.command in ("show", "write") and not any(word.startswith("-") for word in rest):
        options.words += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _how_to_go_on(stop: KeyboardInterrupt) -> str:
    return f"; {stop.args[0]}" if stop.args else ""


def _report_error(error: Exception, debug: bool) -> int:
    """Print one sentence, or with ``--debug`` the traceback."""
    if debug:
        traceback.print_exception(error)
    elif isinstance(error, LlmrecError):
        print(f"llmrec: {error}", file=sys.stderr)
    elif (sentence := out_of_memory(error)) is not None:
        print(f"llmrec: {sentence}", file=sys.stderr)
    elif isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        print(f"llmrec: cannot use{where}: {error.strerror}", file=sys.stderr)
    else:
        text = " ".join(str(error).split())
        print(
            f"llmrec: unexpected {type(error).__name__}: {text} (a bug; run it again with --debug "
            "and report what it prints)",
            file=sys.stderr,
        )
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llmrec",
        description="Compare language-model recommenders with collaborative filtering.",
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--version", action="version", version=f"llmrec {llmrec.__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, parents=[common], allow_abbrev=False
        )

    add("run", "fit and judge recommenders on one split (llmrec run --help)")
    each = add("audit", "look for leaks in what a run would use, or in a finished run")
    each.add_argument(
        "overrides", nargs="*", metavar="key=value | RUN", help="as for llmrec run; or a run folder"
    )
    each = add("list", "list the components one can choose from")
    each.add_argument("kind", nargs="?", help="only this kind: recommender, backbone, metric, …")
    each = add("show", "show a component with its options; or what a model reads of a user")
    each.add_argument("name", help="its name, or kind/name; or the word prompt, see --user")
    each.add_argument(
        "words", nargs="*", metavar="prompt ...", help="after prompt: NAME and overrides"
    )
    each.add_argument("--user", metavar="ID", help="show prompt NAME as it is for this user")
    each.add_argument("--item", metavar="ID", help="the candidate a prompt asks about")
    each = add("report", "rebuild the tables of a run folder, or merge several runs")
    each.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    each.add_argument("--output", type=Path, metavar="DIR", help="write the tables there")
    each = add("recommend", "recommend to a user with a fitted model of a run")
    each.add_argument("run", type=Path, metavar="RUN", help="run folder")
    each.add_argument("--model", metavar="LABEL", help="its label; default: the best in the table")
    each.add_argument("-k", type=_positive, default=10, help="how many items (10)")
    who = each.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="ID", help="a user of the data")
    who.add_argument("--items", metavar="ID,ID", help="the history of a new user, oldest first")
    each = add("probe", "change what a fitted model is given, and see what its numbers rest on")
    each.add_argument("run", type=Path, metavar="RUN", help="run folder")
    each.add_argument("--model", metavar="LABEL", help="its label; default: the best in the table")
    each.add_argument("--users", type=_positive, default=200, help="test users asked (200)")
    each.add_argument(
        "--memory",
        type=int,
        default=100,
        metavar="N",
        help="titles, rows and next items an untrained checkpoint must complete (100; 0: none)",
    )
    each.add_argument("--output", type=Path, metavar="FILE", help="write it as JSON, too")
    each = add("write", "fit writers of explanations, descriptions, replies; judge the texts")
    each.add_argument(
        "words", nargs="+", metavar="WRITER", help="names, NAME.key=value, and overrides of a run"
    )
    each.add_argument(
        "--kind",
        choices=["explanation", "description", "reply", "conversation"],
        default="explanation",
        help="what is written (explanation: what users wrote of items)",
    )
    each.add_argument("--output", type=Path, required=True, metavar="DIR", help="an empty folder")
    each.add_argument("--max-words", type=_positive, metavar="N", help="cut texts after N words")
    each.add_argument("--limit", type=_positive, default=1000, help="test texts judged (1000)")
    each.add_argument("--field", default="description", help="item field that is a description")
    each.add_argument(
        "--source", type=Path, metavar="FILE", help="JSON lines, for replies and conversations"
    )
    each = add("forget", "delete cached data and results of users who ask to be removed")
    each.add_argument("users", nargs="+", metavar="ID", help="external id of a user")
    each.add_argument("--key", type=Path, metavar="FILE", help="their pseudonyms too: privacy.key")
    each.add_argument(
        "--runs",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="take them out of the results in these run folders, or in all that a folder holds",
    )
    each = add("data", "get a data set if needed, and describe it")
    each.add_argument("name", help="a config of the group data, or a registered source")
    each.add_argument(
        "options",
        nargs="*",
        metavar="key=value",
        help="options of the source; also filters, text steps and privacy, as for llmrec run",
    )
    each.add_argument(
        "--output", type=Path, metavar="DIR", help="write it there too: JSON, LaTeX table, figure"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "audit":
        text, leaks = _audited(options.overrides)
        print(text)
        return FAILED if leaks else OK
    if options.command == "list":
        from llmrec.experiment.catalogue import list_text

        print(list_text(options.kind))
    elif options.command == "show":
        print(_shown(options))
    elif options.command == "report":
        from llmrec.experiment.merge import report

        report(options.runs, options.output)
    elif options.command == "recommend":
        from llmrec.experiment.answers import recommend_text

        print(
            recommend_text(
                options.run,
                user=options.user,
                items=options.items,
                k=options.k,
                label=options.model,
            )
        )
    elif options.command == "probe":
        from llmrec.experiment.probing import probe_text

        print(
            probe_text(
                options.run,
                label=options.model,
                users=options.users,
                memory=options.memory,
                output=options.output,
                progress=lambda what: print(f"probing: {what}", file=sys.stderr),
            )
        )
    elif options.command == "write":
        from llmrec.experiment.writing import write_text_report

        print(
            write_text_report(
                options.words,
                options.output,
                kind=options.kind,
                max_words=options.max_words,
                limit=options.limit,
                source=options.source,
                field=options.field,
            )
        )
    elif options.command == "forget":
        from llmrec.experiment.forgetting import forget_text

        print(forget_text(options.users, options.runs, options.key))
    elif options.command == "data":
        from llmrec.experiment.datasets import data_text

        print(data_text(options.name, options.options, options.output))
    return OK


def is_folder(words: list[str]) -> bool:
    """Whether the words after ``llmrec audit`` name a run folder, not overrides."""
    return len(words) == 1 and "=" not in words[0] and not words[0].startswith("~")


def _audited(words: list[str]) -> tuple[str, bool]:
    """Return the findings in a run folder, or in what a run with overrides would use."""
    if is_folder(words):
        from llmrec.experiment.audit_fitted import audit_folder_text

        return audit_folder_text(Path(words[0]))
    from llmrec.experiment.audits import audit_text

    return audit_text(words)


def _shown(options: argparse.Namespace) -> str:
    """Return a component, or with ``show prompt NAME --user ID`` what a model reads."""
    if options.name == "prompt" and options.words and options.user is not None:
        from llmrec.experiment.prompts import prompt_text

        name, *overrides = options.words
        return prompt_text(name, options.user, overrides, candidate=options.item)
    if options.name == "prompt" or options.words or options.user or options.item:
        raise ConfigError(
            "expected llmrec show NAME, or llmrec show prompt NAME --user ID [--item ID] "
            "[key=value]"
        )
    from llmrec.experiment.catalogue import show_text

    return show_text(options.name)


if __name__ == "__main__":
    sys.exit(main())
