"""Where a run's figures go: ``metrics.jsonl``, the log, a progress bar, and TensorBoard if it is installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tsar.logging import get_logger, progress_bar
from tsar.storage import write_atomically
from tsar.training.checkpoint import RunState

logger = get_logger(__name__)
BAR = 1000  # steps of the progress bar, whatever the schedule counts


class Meter:
    """Write a run's figures; only the main process has one that is active.

    Parameters
    ----------
    run_dir
        Folder of the run.
    name
        Shown in front of the progress bar.
    active
        False: do nothing.
    """

    def __init__(self, run_dir: Path, name: str, active: bool) -> None:
        self.path = run_dir / "metrics.jsonl"
        self.active = active
        if active:
            _end_line(self.path)
        self.bar = progress_bar(total=BAR, desc=name, show=None if active else False)
        self.board = _open_board(run_dir / "tensorboard") if active else None

    def record(self, state: RunState, progress: float, **facts: Any) -> None:
        """Write one line of figures; mappings and lists go to the file only."""
        if not self.active:
            return
        line = {"step": state.step, "windows": state.windows, **facts}
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        shown = {name: value for name, value in line.items() if not isinstance(value, dict | list)}
        logger.info(" ".join(f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items()))
        self.bar.update(int(BAR * progress) - self.bar.n)
        if "tokens_per_second" in facts:
            self.bar.set_postfix_str(f"loss {facts['loss']:.4f}, {facts['tokens_per_second']:,.0f} tokens/s")
        if self.board is not None:
            for name, value in shown.items():
                if isinstance(value, float):
                    self.board.add_scalar(f"{facts['kind']}/{name}", value, state.step)

    def close(self) -> None:
        """Finish the bar and flush the board."""
        self.bar.close()
        if self.board is not None:
            self.board.close()


def _end_line(path: Path) -> None:
    """End the last line of a file where a kill or a full disk cut it off, so that the next one is whole."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        write_atomically(path, content[: content.rfind(b"\n") + 1])


def _open_board(folder: Path) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
