"""Options that are one of several names."""


def choose(what: str, given: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError if `given` is not one of `choices`; what: the option's name."""
    if given not in choices:
        raise ValueError(f"{what} = {given!r} is not known; choose one of {', '.join(choices)}")
