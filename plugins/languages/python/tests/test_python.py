"""Which programs a Python that stands by may read from its pipe."""

from __future__ import annotations

import pytest
from xagent_lang_python.language import PYTHON

from xagent_core.types import ExecutionRequest


@pytest.mark.parametrize(
    ("code", "stands_by"),
    [
        ("print(1)", True),
        ("# coding: utf-8\nprint(1)", True),
        ("#!/usr/bin/python3\n# -*- coding: UTF_8 -*-", True),
        ("# vim: set fileencoding=latin-1 :", False),
        ("#!/usr/bin/python3\n# -*- coding: cp1252 -*-", False),
        ("print(1)\n\n# coding: latin-1", True),
        ("text = '# coding: latin-1'", True),
    ],
)
def test_a_source_in_another_encoding_must_be_a_file(code, stands_by):
    assert bool(PYTHON.prepare(ExecutionRequest(code=code)).standby) is stands_by


def test_arguments_and_environment_start_an_interpreter_of_their_own():
    assert PYTHON.prepare(ExecutionRequest(code="", args=("a",))).run == ("python3", "main.py", "a")
    assert not PYTHON.prepare(ExecutionRequest(code="", args=("a",))).standby
    assert not PYTHON.prepare(ExecutionRequest(code="", env={"A": "1"})).standby
