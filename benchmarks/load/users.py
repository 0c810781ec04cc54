"""Locust's view of the generator: users, a load shape, and the events that hold them together."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import gevent
import grpc.experimental.gevent
import locust.runners
from locust import LoadTestShape, User, constant, events, task

from benchmarks import sla as slas
from benchmarks import sla_file, workloads
from benchmarks.load.arrivals import parts
from benchmarks.load.collector import Collector
from benchmarks.load.generator import Generator
from benchmarks.load.variables import QUICK_VARIABLE, SLA_VARIABLE
from benchmarks.load.wire import Answer, Wire
from benchmarks.quick import quick
from benchmarks.sla import Sla, SlaError, Target

_BEGIN, _SAMPLES, _REFUSAL = "lupine-begin", "lupine-samples", "lupine-refusal"
_REPORT_SECONDS = 1.0
_HEARD_SECONDS = 0.01
_SPAWN_SECONDS = 2.0  # all users are there within about so long

_log = logging.getLogger(__name__)


class AnswerError(Exception):
    """What Locust's own statistics show of a failure."""


class Session:
    """One Locust process, master, worker or both, from start to end.

    Args:
        path: of the SLA file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sla: Sla = sla_file.load(path)
        if os.environ.get(QUICK_VARIABLE):
            self.sla = quick(self.sla)
        workloads.check(self.sla, path)  # Locust would go on without us if it were found out later
        self.generator: Generator | None = None
        self.collector: Collector | None = None
        self.environment: Any = None
        self._greenlets: list[Any] = []

    @property
    def over(self) -> bool:
        """Whether the repetition has ended."""
        collector = self.collector
        return collector is not None and (collector.complete or collector.overdue)

    # ------------------------------------------------------------------ events of Locust's

    def on_init(self, environment: Any, **_: Any) -> None:
        """Locust is there; which part of it this process is, is known."""
        self.environment = environment
        runner = environment.runner
        if isinstance(runner, locust.runners.WorkerRunner):
            runner.register_message(_BEGIN, self._on_begin)
        elif isinstance(runner, locust.runners.MasterRunner):
            runner.register_message(_SAMPLES, self._on_samples)
            runner.register_message(_REFUSAL, self._on_refusal)

    def on_test_start(self, environment: Any, **_: Any) -> None:
        """A repetition is about to begin."""
        options = environment.parsed_options
        url = (environment.host or options.host or "http://127.0.0.1:3000").rstrip("/")
        runner = environment.runner
        if not isinstance(runner, locust.runners.MasterRunner):
            self.generator = Generator(self.sla, self.path, url, options.grpc_url, self._heard)
        if not isinstance(runner, locust.runners.WorkerRunner):
            self.collector = Collector(self.sla, self.path, url, options.repetition)
            self._greenlets.append(gevent.spawn(self._conduct))

    def on_spawning_complete(self, **_: Any) -> None:
        """All users are there: let them begin."""
        collector = self.collector
        if collector is None or collector.running:
            return
        if self.generator is None:
            self._greenlets.append(gevent.spawn(self._begin_others, collector))
            return
        collector.begin(1)
        self.generator.begin(0, collector.seed, [(0, 1)] * len(self.sla.target))
        self._greenlets.append(gevent.spawn(self._look, collector))

    def on_test_stop(self, environment: Any, **_: Any) -> None:
        """The repetition is over, or was stopped."""
        if self.generator is not None:
            if self.collector is None:
                self._send()  # the last of it
            self.generator.stop()
        for greenlet in self._greenlets:
            greenlet.kill(block=False)
        self._greenlets = []
        out = environment.parsed_options.results
        if self.collector is not None and out:
            folder = self.collector.write(Path(out))
            _log.info("written to %s", folder)

    # ------------------------------------------------------------------ between the processes

    def _begin_others(self, collector: Collector) -> None:
        """Of a master: once it has heard of all users. Locust itself waits a second for that."""
        runner = self.environment.runner
        while sum(worker.user_count for worker in runner.clients.running) < _users(self.sla):
            gevent.sleep(_HEARD_SECONDS)
        if collector.running:
            return
        workers = runner.clients.running
        # Locust deals the users out as it likes: a process may have none of a target's.
        shares = [
            parts([worker.user_classes_count.get(_name(index), 0) for worker in workers])
            for index in range(len(self.sla.target))
        ]
        collector.begin(len(workers))
        for number, worker in enumerate(workers):
            begin = {
                "worker": number,
                "seed": collector.seed,
                "parts": [share[number] for share in shares],
                "sla": slas.digest(self.sla),
            }
            runner.send_message(_BEGIN, begin, worker.id)
        self._greenlets.append(gevent.spawn(self._look, collector))

    def _on_begin(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002 - Locust's signature
        if msg.data["sla"] != slas.digest(self.sla):
            why = f"generator process {msg.data['worker']} has another SLA file than the master"
            self.environment.runner.send_message(_REFUSAL, why)
        elif self.generator is not None:
            self.generator.begin(msg.data["worker"], msg.data["seed"], msg.data["parts"])
            self._greenlets.append(gevent.spawn(self._report))

    def _on_refusal(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002 - Locust's signature
        if self.collector is not None:
            self.collector.refuse(msg.data)

    def _on_samples(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002 - Locust's signature
        if self.collector is not None:
            self.collector.put(msg.data)

    def _report(self) -> None:
        """Of a worker: send what was measured, every second."""
        while True:
            gevent.sleep(_REPORT_SECONDS)
            self._send()

    def _send(self) -> None:
        if self.generator is not None:
            self.environment.runner.send_message(_SAMPLES, self.generator.take())

    def _look(self, collector: Collector) -> None:
        """At the gateway's metrics, at the moment at which the measured time begins."""
        gevent.sleep(max(0.0, self.sla.warmup_seconds - collector.elapsed))
        collector.scrape()

    def _conduct(self) -> None:
        """Of a master, or of a process that is all in one: gather, look at the gateway, tell."""
        collector = self.collector
        if collector is None:
            return
        while True:
            gevent.sleep(_REPORT_SECONDS)
            if not collector.running:
                continue
            if self.generator is not None:
                collector.put(self.generator.take())
            if self.over:
                collector.scrape()
            self._tell(collector)

    def _tell(self, collector: Collector) -> None:
        progress = self.environment.parsed_options.progress
        if progress:
            with contextlib.suppress(OSError), Path(progress).open("a") as file:
                file.write(collector.status() + "\n")

    def _heard(self, target: Target, answer: Answer, seconds: float) -> None:
        """For Locust's own pages and statistics. They round; ours come from the raw samples."""
        self.environment.events.request.fire(
            request_type=target.wire,
            name=target.name,
            response_time=seconds * 1000,
            response_length=0,
            # Its text holds ids, and Locust would keep every one.
            exception=AnswerError(answer.fate) if answer.fate else None,
            context={},
        )


def options(parser: Any) -> None:
    """What Locust's command line takes besides its own."""
    parser.add_argument(
        "--grpc-url",
        default="127.0.0.1:3001",
        env_var="LUPINE_BENCH_GRPC_URL",
        help="HOST:PORT of the gateway's gRPC",
    )
    parser.add_argument("--results", default="", help="folder for the raw histograms")
    parser.add_argument("--repetition", type=int, default=1, help="number of this run, from 1")
    parser.add_argument(
        "--progress", default="", include_in_web_ui=False, help="file for a line of JSON a second"
    )


def users(session: Session) -> dict[str, type[User]]:
    """A Locust user class for each target of the SLA."""
    return {
        _name(index): type(_name(index), (_Caller,), _attributes(session, index, target))
        for index, target in enumerate(session.sla.target)
    }


def _users(sla: Sla) -> int:
    """Of all targets and processes."""
    return sum(slas.connections(target) for target in sla.target)


def _name(index: int) -> str:
    """Of a target's user class."""
    return f"Target{index}"


def _attributes(session: Session, index: int, target: Target) -> dict[str, Any]:
    return {
        "session": session,
        "index": index,
        "fixed_count": slas.connections(target),
        "__doc__": target.name,
    }


class _Caller(User):
    """One connection's worth of callers of one target."""

    abstract = True
    wait_time = constant(0)
    session: Session
    index: int
    wire: Wire

    def on_start(self) -> None:
        """Connect."""
        generator = self.session.generator
        if generator is None:
            raise RuntimeError("a user was started before the test")
        self.wire = generator.caller(self.index)

    @task
    def serve(self) -> None:
        """Send what is due until nothing more is."""
        if self.session.generator is not None:
            self.session.generator.serve(self.index, self.wire)

    def on_stop(self) -> None:
        """Disconnect."""
        self.wire.close()


def shape(session: Session) -> type[LoadTestShape]:
    """A load shape: all users at once, until all that was due has been sent and answered."""

    class Shape(LoadTestShape):
        """The users of every target, as long as the SLA says."""

        def tick(self) -> tuple[int, float] | None:
            """How many users there should be now; None ends the test."""
            if session.over and (session.collector is None or session.collector.scraped):
                return None
            count = _users(session.sla)
            return count, max(count / _SPAWN_SECONDS, 10.0)

    return Shape


def session() -> Session:
    """What this process is to do, as the environment says; Locust's events are bound to it.

    Raises:
        SystemExit: the SLA file cannot be used; status 3.
    """
    grpc.experimental.gevent.init_gevent()
    try:
        found = Session(Path(os.environ.get(SLA_VARIABLE, slas.DEFAULT)))
    except SlaError as error:
        _log.error("%s", error)
        raise SystemExit(3) from None
    events.init_command_line_parser.add_listener(options)
    events.init.add_listener(found.on_init)
    events.test_start.add_listener(found.on_test_start)
    events.spawning_complete.add_listener(found.on_spawning_complete)
    events.test_stop.add_listener(found.on_test_stop)
    return found
