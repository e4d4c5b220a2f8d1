"""Where results and progress go."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from detrbench.core.units import show_eta, show_share
from detrbench.core.visible import visible
from detrbench.render import format_of, render, render_document

if TYPE_CHECKING:
    from detrbench.render.layout import Document
    from detrbench.reports.report import Report
    from detrbench.timing.rounds import Progress

OK, FAILED, UNEXPECTED, INTERRUPTED = 0, 4, 70, 130
"""Exit codes beside 2, which every usage error has: 70 is EX_SOFTWARE, 130 is 128 + SIGINT."""

SIGPIPE_CODE = 141
"""128 + SIGPIPE, what a shell says of a program whose reader went away."""


def show_document(document: Document, format: str | None, output: Path | None) -> None:
    """`deliver` a document, in the format that the output's suffix says where none is asked for."""
    deliver(render_document(document, format or format_of(output)), output)


def show_report(
    report: Report, format: str | None, output: Path | None, by: str | None = None
) -> None:
    """The same of a report that this command has made, with the command line in it."""
    from detrbench.cli.options import command_line

    report = dataclasses.replace(report, command=command_line())
    deliver(render(report, format or format_of(output), by=by), output)


def deliver(text: str, output: Path | None) -> None:
    """Print `text` to stdout, or write it to `output` whole and say so on stderr. Raises UsageError
    where the file cannot be written."""
    if output is None:
        _print(text)
        return
    from detrbench.core.files import write_atomically

    write_atomically(output, text)
    say(f"wrote {output}")


def say(text: str) -> None:
    """A note to the person at the terminal, which no pipe reads."""
    sys.stderr.write(f"{visible(text, lines=True)}\n")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # `detrbench ... | head` has all it wants. Python would complain again while it closes
        # stdout, so let it close something else.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(SIGPIPE_CODE) from None


class ProgressLine:
    """What is going on, on stderr: one line that changes on a terminal; elsewhere a line for each
    phase, and again every ten seconds. While something is silent, for how long it has been."""

    def __init__(self) -> None:
        self._text, self._phase, self._heard, self._said = "", "", 0.0, 0.0
        self._terminal = sys.stderr.isatty()
        self._writing, self._over = threading.RLock(), threading.Event()

    def __enter__(self) -> ProgressLine:
        self.show("starting", "starting")
        threading.Thread(target=self._keep_telling, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.close()

    def __call__(self, progress: Progress) -> None:
        """Show where a measurement is."""
        self.show(_progress_text(progress), progress.phase)

    def show(self, text: str, phase: str) -> None:
        """Show `text` on a terminal; elsewhere only when a phase begins, or goes on for long."""
        with self._writing:
            now = self._heard = time.monotonic()
            if self._terminal:
                self._draw(text)
            elif phase != self._phase:
                self._line(f"{phase} ...", now)
            else:
                self._line_again(text, now)
            self._text, self._phase = text, phase

    def _keep_telling(self) -> None:
        """Models are built, or torch is imported, without a word between."""
        while not self._over.wait(_SILENT_S):
            with self._writing:
                now = time.monotonic()
                silent_s = now - self._heard
                if silent_s < _SILENT_S or self._over.is_set():
                    continue
                text = f"{self._text}, for {silent_s:.0f} s"
                self._draw(text) if self._terminal else self._line_again(text, now)

    def _line(self, text: str, now: float) -> None:
        self._said = now
        say(text)

    def _line_again(self, text: str, now: float) -> None:
        if now - self._said > _NEWS_S:
            self._line(text, now)

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{visible(text)}")
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """A line that stays, above the one that changes."""
        with self._writing:
            self.close()
            say(text)

    def close(self) -> None:
        """Leave the terminal's line empty."""
        if self._terminal and self._phase:
            self._draw("")


_BAR = 24  # characters
_NEWS_S = 9.0  # without which a log looks as if it stood still
_SILENT_S = 4.0  # after which a terminal does


def _progress_text(progress: Progress) -> str:
    done = min(progress.done, progress.total or 0)  # a process may end a little after its time
    share = show_share(done, progress.total) if progress.total else ""
    eta = f"about {show_eta(progress.eta_s)} left" if progress.eta_s is not None else ""
    bar = _bar(progress.done / progress.total) if progress.total else ""
    return "  ".join(part for part in (progress.phase, bar, share, eta) if part)


def _bar(share: float) -> str:
    full = round(_BAR * min(max(share, 0.0), 1.0))
    return "[" + "#" * full + "." * (_BAR - full) + "]"
