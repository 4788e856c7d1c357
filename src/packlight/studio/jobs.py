"""Jobs of the studio: one process at a time, with progress, and canceled on demand."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from packlight.errors import InputError
from packlight.records.codec import plain
from packlight.studio.job_child import JobRequest
from packlight.studio.pages import JobPage, Number

MOST_JOBS = 50
"""Jobs that are remembered; older ones are forgotten, their results are in the project."""

CHILD = "packlight.studio.job_child"
ENDED = ("done", "failed", "canceled")


@dataclass(slots=True)
class Job:
    """A job with its process.

    Attributes:
        page: as it is shown.
        request: that its process reads.
        process: while it runs.
    """

    page: JobPage
    request: JobRequest
    process: subprocess.Popen[str] | None = None


@dataclass(slots=True)
class Jobs:
    """Jobs in the order they were asked for; each waits until the one before has ended.

    Attributes:
        changed: called after every change of a job.
    """

    changed: Callable[[], None]
    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def pages(self) -> tuple[JobPage, ...]:
        """All jobs, the newest first."""
        with self._lock:
            return tuple(job.page for job in reversed(self._jobs.values()))

    def start(self, request: JobRequest, title: str, predicted: Mapping[str, Number]) -> JobPage:
        """Start a job, or let it wait.

        Args:
            request: that its process reads.
            title: for people.
            predicted: of the choices that it runs.
        """
        with self._lock:
            key = f"job-{next(self._numbers)}"
            kind = request.kind
            page = JobPage(key, kind, title, "waiting", predicted=predicted)  # type: ignore[arg-type]
            self._jobs[key] = Job(page, request)
            ended = [name for name, job in self._jobs.items() if job.page.state in ENDED]
            for name in ended[: max(0, len(self._jobs) - MOST_JOBS)]:
                del self._jobs[name]
        threading.Thread(target=self._run, args=(key,), daemon=True).start()
        self.changed()
        return page

    def cancel(self, key: str) -> JobPage:
        """Stop a job; what it committed stays.

        Raises:
            InputError: there is no such job.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                raise InputError(f"there is no job '{key}'")
            if job.page.state not in ENDED:
                job.page = replace(job.page, state="canceled", text="canceled")
            if job.process is not None:
                job.process.terminate()
        self.changed()
        return job.page

    def close(self) -> None:
        """Stop every job."""
        for page in self.pages():
            if page.state not in ENDED:
                self.cancel(page.id)

    def _run(self, key: str) -> None:
        """Run one job to its end, when its turn comes."""
        job = self._jobs[key]
        with self._turn:
            if job.page.state == "canceled":
                return
            self._update(job, state="running", text="starting")
            with self._lock:
                job.process = subprocess.Popen(  # noqa: S603  our own module
                    [sys.executable, "-m", CHILD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            try:
                self._follow(job, job.process)
            finally:
                job.process.wait()
                job.process = None
            if job.page.state == "running":
                self._update(job, state="failed", error="its process ended without a result")

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> None:
        """Send the request and read reports until the process ends."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        with process.stdin:
            process.stdin.write(json.dumps(plain(job.request)))
        for line in process.stdout:
            self._take(job, json.loads(line))
        reader.join()
        if job.page.state == "running" and errors:
            self._update(job, state="failed", error=errors[-1].strip())

    def _take(self, job: Job, report: Mapping[str, object]) -> None:
        """Show one report."""
        if "variant" in report:
            self._update(job, state="done", text="done", variant=str(report["variant"]))
        elif "error" in report:
            self._update(job, state="failed", error=str(report["error"]))
        else:
            done = int(str(report["done"]))
            total = int(str(report["total"]))
            self._update(job, text=str(report["text"]), done=done, total=total)

    def _update(self, job: Job, **fields: object) -> None:
        with self._lock:
            if job.page.state not in ENDED:
                job.page = replace(job.page, **fields)  # type: ignore[arg-type]
        self.changed()
