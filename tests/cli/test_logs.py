"""What `xagent worker` logs where nobody asked for JSON."""

import logging

import pytest

from xagent_core.cli.logs import FieldsFormatter


@pytest.fixture
def line():
    formatter = FieldsFormatter("%(levelname)s %(name)s: %(message)s")

    def write(name, message, **extra):
        record = logging.getLogger(name).makeRecord(name, logging.INFO, __file__, 1, message, (), None, extra=extra)
        return formatter.format(record)

    return write


def test_a_line_names_the_job_and_its_end(line):
    written = line("xagent_core.jobs", "job ended", job="5f0c", attempt=1, seconds=0.061, status="success")
    assert written == "INFO xagent_core.jobs: job ended job=5f0c attempt=1 seconds=0.061 status=success"


def test_what_a_job_brings_begins_no_line_of_its_own(line):
    written = line("xagent_core.jobs", "job ended", cause='no "x"\nERROR root: forged')
    assert written == r'INFO xagent_core.jobs: job ended cause="no \"x\"\nERROR root: forged"'


def test_records_of_others_are_as_they_were(line):
    assert line("docket.worker", "away", args_of_task="secret") == "INFO docket.worker: away"
