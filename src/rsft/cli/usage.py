"""Wrong command lines, in one line each: what is wrong, the nearest valid word, and where the valid ones are listed."""

from collections.abc import Sequence
from typing import Any

from rsft.errors import did_you_mean

QUOTE = "'"
NUMBERS = {"valid integer": "a whole number", "valid number": "a number"}  # in a message of the parser -> in ours


def in_words(error: Any, arguments: Sequence[str]) -> str:
    """Return what is wrong with a command line.

    Args:
        error: An error of the parser, told by its name: versions of typer differ in whose parser they use.
        arguments: The command line, without the program.
    """
    context = getattr(error, "ctx", None)
    called = [*arguments[:1]] if context is None else [_path(context)]
    name = " ".join(["rsft", *(word for word in called if word and not word.startswith("-"))])
    return f"{_told(error, context, name, arguments).rstrip('.')}; see `{name} --help`."


def _path(context: Any) -> str:
    """Return the names of a command and of the groups above it, without the program."""
    above = context.parent
    return "" if above is None else f"{_path(above)} {context.info_name}".strip()


def _told(error: Any, context: Any, name: str, arguments: Sequence[str]) -> str:
    """Return what is wrong, without a full stop."""
    kind, message = type(error).__name__, error.format_message()
    if kind == "NoSuchOption":
        known = [option for one in context.command.get_params(context) for option in (*one.opts, *one.secondary_opts)]
        return f"`{name}` has no option '{error.option_name}'{did_you_mean(error.option_name, known)}"
    if kind == "MissingParameter" and error.param is not None:
        return f"`{name}` needs {', '.join(_absent(error.param, context, arguments))}"
    if kind == "BadParameter" and error.param is not None:
        return f"{_named(error.param)}{_of_value(error, arguments)}"
    if message.startswith("No such command"):
        wrong = message.partition("'")[2].partition("'")[0]
        commands = context.command.list_commands(context)
        return f"`{name}` has no command '{wrong}'{did_you_mean(wrong, commands)}"
    return message[:1].lower() + message[1:]


def _of_value(error: Any, arguments: Sequence[str]) -> str:
    """Return what is wrong with the value of an option, with the nearest choice if it has few."""
    message = error.message.removeprefix("Value error, ").rstrip(".")
    wrong, separator, choices = message.partition(" is not one of ")
    if separator:
        return f": {message}{did_you_mean(wrong.strip(QUOTE), [choice.strip(QUOTE) for choice in choices.split(', ')])}"
    number = next((told for kind, told in NUMBERS.items() if kind in message), None)
    if number is None:
        return f": {message[:1].lower()}{message[1:]}"
    given = [
        argument.partition("=")[2] if "=" in argument else next(iter(arguments[place + 1 : place + 2]), "")
        for place, argument in enumerate(arguments)
        if argument.partition("=")[0] in error.param.opts
    ]
    return f" needs {number}" + (f", got '{given[-1]}'" if given else "")


def _absent(first: Any, context: Any, arguments: Sequence[str]) -> list[str]:
    """Return the names of all required options that are absent; the parser stops at the first."""
    given = {argument.partition("=")[0] for argument in arguments}
    required = [one for one in context.command.params if one.required and one.param_type_name == "option"]
    return [_named(one) for one in dict.fromkeys((first, *required)) if one is first or not given & set(one.opts)]


def _named(parameter: Any) -> str:
    """Return how a user names an option or an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return str(max(parameter.opts, key=len))
