"""A flag of the command line for each setting."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from nats_fluent.settings import CATALOGUE

if TYPE_CHECKING:
    from nats_fluent.options import Option

Command = Callable[..., None]


def settings_flags(*sections: str, short: Mapping[str, str] | None = None) -> Callable[[Command], Command]:
    """Give a command, in place of its ``**flags``, a flag for each setting of the sections, or of all.

    For a secret that is the one for its file. `short` has further names of flags, by the name of the flag.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        flags = [
            inspect.Parameter(
                option.param,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    str | None,
                    typer.Option(
                        option.flag,
                        *filter(None, [(short or {}).get(option.flag)]),
                        metavar=option.kind.metavar,
                        help=_help(option),
                        rich_help_panel=f"Settings: {option.section}",
                        show_default=False,
                        # It is refused, with what to give in its place.
                        hidden=option.kind.secret,
                        autocompletion=_completer(option),
                    ),
                ],
            )
            for option in CATALOGUE
            if not sections or option.section in sections
        ]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        return command

    return decorate


def _help(option: Option) -> str:
    default = f"; default {option.show(option.default)}" if option.show(option.default) else ""
    return f"{option.doc} (env {option.env}{default})"


def _completer(option: Option) -> Callable[[str], list[str]] | None:
    """Return what completes the value of a setting that is one of a few words; the shell completes files."""
    words = option.kind.metavar.split("|")
    if len(words) == 1:
        return None

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete
