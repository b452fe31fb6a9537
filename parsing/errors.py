"""The errors this project raises on purpose; the command line prints each as one line."""


class CsclError(Exception):
    """Something failed: exit code 1."""


class InputError(CsclError, ValueError):
    """What the user gave is wrong; the message restates it and says what to do: exit code 2."""


class MissingError(InputError, FileNotFoundError):
    """A folder or file that the user named, or that a default points at, is not there: exit code 2."""


class CacheError(InputError):
    """A mask cache is damaged, of another version, or does not fit what it is used for: exit code 2."""


LONGEST = 200
"""Characters of another program's message that an error of ours repeats."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, its class name if that is empty.

    Of a line of more than 200 characters, whole sentences or, if the first is that long too, its beginning.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if len(line) <= LONGEST:
        return line
    return line[:LONGEST].rpartition(". ")[0] or f"{line[: LONGEST - 3]}..."
