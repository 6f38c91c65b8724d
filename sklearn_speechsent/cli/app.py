"""Subcommands of ``speechsent``, and what their errors look like.

What is heavy (torch, scikit-learn, pandas) is imported by the subcommand that needs it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

try:
    import typer
except ImportError as error:
    raise SystemExit(
        "The command needs typer. Install it: pip install 'sklearn-speechsent[cli]'"
    ) from error

from sklearn_speechsent._version import __version__
from sklearn_speechsent.cli.check import check
from sklearn_speechsent.cli.doctor import doctor
from sklearn_speechsent.cli.evaluate import evaluate
from sklearn_speechsent.cli.export import export
from sklearn_speechsent.cli.fetch import fetch
from sklearn_speechsent.cli.fit import fit
from sklearn_speechsent.cli.listen import listen
from sklearn_speechsent.cli.predict import predict
from sklearn_speechsent.cli.serve import serve
from sklearn_speechsent.cli.timeline import timeline

#: Exit codes, next to 0: a part of the rows failed; the call cannot be carried out.
SOME_FAILED, USAGE = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Sentiment from the voice alone: score recordings, follow them over time, fit models.",
    epilog="Exit codes: 0, all went well; 1, some rows failed; 2, the call cannot be carried out.",
)
for command in (
    predict,
    timeline,
    fit,
    evaluate,
    export,
    listen,
    serve,
    fetch,
    check,
    doctor,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"speechsent {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"Warning: {message}", file=sys.stderr)


def main() -> None:
    """Run the command, and turn errors that a user can mend into one message."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        code = app(standalone_mode=False) or 0
    except typer.Exit as exit_:
        code = exit_.exit_code
    except BrokenPipeError:
        # The reader of the output has gone, and the interpreter would flush it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = SOME_FAILED
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted.", file=sys.stderr)
        code = 130
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        code = USAGE
    except Exception as error:
        show = getattr(error, "show", None)  # errors of usage: click's own, which typer brings
        if show is None:
            raise
        show()
        code = getattr(error, "exit_code", USAGE)
    raise SystemExit(code)
