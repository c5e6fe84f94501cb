"""What the log has of errors that nobody expected."""

from __future__ import annotations

import logging

from xagent_core.http.stacks import StacksOnly


def logged(error: BaseException) -> str:
    record = logging.LogRecord("server", logging.ERROR, __file__, 1, "it failed", (), (type(error), error, None))
    assert StacksOnly().filter(record)
    return logging.Formatter().format(record)


def quote(header):
    raise ValueError(header)


def test_stacks_and_types_of_all_that_led_to_an_error_are_logged_without_what_they_quote():
    try:
        try:
            quote("s3cr3t")
        except ValueError as error:
            raise ExceptionGroup("s3cr3t", [error, KeyError("s3cr3t")]) from error
    except ExceptionGroup as error:
        text = logged(error)
    assert "in quote\n" in text
    assert "builtins.KeyError" in text
    assert text.index("builtins.ValueError") < text.index("builtins.ExceptionGroup")
    assert "s3cr3t" not in text.replace('"s3cr3t"', ""), "but for the lines of the program itself"


def test_what_the_system_refused_is_said():
    text = logged(OSError(28, "No space left on device", "/s3cr3t"))
    assert text == "it failed\nbuiltins.OSError: No space left on device"


def test_errors_that_refer_to_each_other_end():
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert logged(one) == "it failed\nbuiltins.KeyError\nbuiltins.ValueError"
