"""Runs a notebook top to bottom in a fresh kernel and says what each cell did.

    python run_notebook.py NOTEBOOK.ipynb EXECUTED.ipynb --folder notebooks --timeout 300

Writes the executed notebook and prints one line of JSON: {"seconds", "cells": [{"index", "id", "seconds", "status", "stderr"}]}.
A cell fails by the kernel's reply or by writing to stderr (tslab reports what happens after a reply there), unless its
metadata.lab.stderr is true. Exit status 0: every cell went well; 1: a cell failed; its source and stderr are on stderr.
"""
import argparse
import json
import os
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.client import CellExecutionComplete
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import ensure_async

# tslab answers "abort" to whatever arrives within 200 ms of an error; after that the next cell runs.
PAUSE_AFTER_ERROR_S = 0.3
# How long outputs may come after the reply. nbclient's own four seconds lose some of them, in silence, on a busy machine.
OUTPUT_PATIENCE_S = 60
# Run after the last cell, so that what cells left behind (a rejected promise nobody awaits) has time to show itself.
LAST_CELL = "await new Promise((done) => setTimeout(done, 300));"

# Nobody learns anything here: the kernel's checks do not count as the reader's progress.
os.environ["LAB_PROGRESS"] = "off"


class Runner(NotebookClient):
    """nbclient reads an error's name and text from the reply; tslab's replies have neither, so replies are kept as they are."""

    def __init__(self, notebook, **options):
        super().__init__(notebook, allow_errors=True, **options)
        self.reports = []
        self.cell_of_message = {}
        self.on_cell_execute = self.start_clock
        self.on_cell_executed = self.keep_reply

    def start_clock(self, **_):
        self.started = time.monotonic()

    def keep_reply(self, cell, cell_index, execute_reply):
        status = execute_reply["content"]["status"]
        seconds = round(time.monotonic() - self.started, 3)
        self.reports.append({"index": cell_index, "id": cell.get("id"), "seconds": seconds, "status": status})
        if status != "ok":
            time.sleep(PAUSE_AFTER_ERROR_S)

    async def _async_poll_output_msg(self, parent_msg_id, cell, cell_index):
        """Like nbclient's, but a message that belongs to an earlier cell is given to that cell instead of to nobody."""
        self.cell_of_message[parent_msg_id] = (cell, cell_index)
        while True:
            message = await ensure_async(self.kc.iopub_channel.get_msg(timeout=None))
            parent = message["parent_header"].get("msg_id")
            if parent not in self.cell_of_message:
                continue
            try:
                self.process_message(message, *self.cell_of_message[parent])
            except CellExecutionComplete:
                if parent == parent_msg_id:
                    return


def stderr_of(cell):
    return "".join(o["text"] for o in cell.outputs if o.output_type == "stream" and o.name == "stderr")


def finish(report, cell):
    """Outputs may arrive after the reply (an unhandled rejection), so stderr is read when everything has run."""
    allowed = cell.metadata.get("lab", {}).get("stderr") is True
    report["stderr"] = stderr_of(cell)
    report["failed"] = report["status"] != "ok" or (report["stderr"] != "" and not allowed)
    return report


def describe(report, cell):
    text = report["stderr"] or "(nothing on stderr)"
    return f"cell {report['index']} ({report['id']}): {report['status']}\n{cell.source}\n--- stderr\n{text}\n"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("notebook")
    options.add_argument("executed")
    options.add_argument("--folder", required=True, help="the folder the kernel runs in")
    options.add_argument("--timeout", type=float, default=300, help="seconds for one cell")
    given = options.parse_args()
    notebook = nbformat.read(given.notebook, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL))
    runner = Runner(
        notebook,
        kernel_name="tslab",
        timeout=given.timeout,
        iopub_timeout=OUTPUT_PATIENCE_S,
        raise_on_iopub_timeout=True,
        resources={"metadata": {"path": given.folder}},
    )
    started = time.monotonic()
    trouble = None
    try:
        runner.execute()
    except (CellTimeoutError, DeadKernelError) as error:
        trouble = f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - started, 2)
    notebook.cells.pop()
    own = [report for report in runner.reports if report["index"] < len(notebook.cells)]
    cells = [finish(report, notebook.cells[report["index"]]) for report in own]
    nbformat.write(notebook, given.executed)
    for report in cells:
        if report["failed"]:
            print(describe(report, notebook.cells[report["index"]]), file=sys.stderr)
    if trouble:
        print(trouble, file=sys.stderr)
    print(json.dumps({"seconds": seconds, "trouble": trouble, "cells": cells}))
    return 1 if trouble or any(report["failed"] for report in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
