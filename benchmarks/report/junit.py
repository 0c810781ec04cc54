"""`junit.xml`: a suite for each target, a case for each promise: CI shows which one broke."""

from __future__ import annotations

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from benchmarks.report.document import Document
from benchmarks.report.notation import measure, printable, relation
from benchmarks.verdict import Claim, Doubt, Outcome, TargetVerdict

_MEASUREMENT = "measurement"


def render(document: Document) -> bytes:
    """The file.

    INCONCLUSIVE is an error: CI goes green over what is merely skipped.
    """
    report = JUnitXml(printable(document.sla.title))
    for target in document.verdict.targets:
        report.add_testsuite(_promises(target, document.environment.began))
    report.add_testsuite(_doubts(document.verdict.doubts, document.environment.began))
    report.update_statistics()
    text = report.tostring()
    return text if isinstance(text, bytes) else text.encode()


def _promises(target: TargetVerdict, began: str) -> TestSuite:
    suite = TestSuite(printable(target.name))
    suite.timestamp = began
    for claim in target.claims:
        suite.add_testcase(_case(target.name, claim))
    return suite


def _case(target: str, claim: Claim) -> TestCase:
    promise = f"{claim.name} {relation(claim)} {measure(claim.limit, claim.unit)} {claim.unit}"
    case = TestCase(printable(promise), printable(target))
    reason = printable(claim.reason)
    if claim.outcome is Outcome.FAIL:
        case.result = [Failure(reason, claim.outcome.value)]
    elif claim.outcome is Outcome.INCONCLUSIVE:
        case.result = [Error(reason, claim.outcome.value)]
    else:
        case.system_out = reason
    return case


def _doubts(doubts: tuple[Doubt, ...], began: str) -> TestSuite:
    """Reasons not to trust the measurement itself; a suite without any says that it was sound."""
    suite = TestSuite(_MEASUREMENT)
    suite.timestamp = began
    for doubt in doubts:
        name = f"{doubt.target}: {doubt.what}" if doubt.target else doubt.what
        case = TestCase(printable(name), _MEASUREMENT)
        case.result = [Error(printable(f"{doubt.what} {doubt.advice}"), "DOUBT")]
        suite.add_testcase(case)
    if not doubts:
        suite.add_testcase(TestCase("the measurement is sound", _MEASUREMENT))
    return suite
