"""How busy the GPUs are; processor and memory where there is none."""

from __future__ import annotations

from textual.content import Content

from tutor_agent.tui.paint import Part, bar, line, lines
from tutor_agent.tui.watching import Loads
from tutor_agent.tui.widgets.piece import Piece

_MOST = 8


class LoadBars(Piece):
    """One thin bar a device."""

    DEFAULT_CSS = """
    LoadBars { margin-top: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._loads = Loads()

    def show(self, loads: Loads) -> None:
        """Show a new measurement."""
        if loads != self._loads:
            taller = len(loads.accelerators) != len(self._loads.accelerators)
            self._loads = loads
            self.refresh(layout=taller)

    def paint(self, width: int) -> Content:
        """Draw the bars."""
        loads = self._loads
        if not loads.accelerators:
            memory = loads.memory_gib / loads.memory_total_gib if loads.memory_total_gib else 0.0
            size = f"{loads.memory_gib:.1f}/{loads.memory_total_gib:.0f}G"
            return lines(
                _row("CPU", loads.cpu, "", width),
                _row(self.words("load.memory"), memory, size, width),
            )
        rows: list[Content] = []
        for number, device in enumerate(loads.accelerators[:_MOST]):
            used = device.memory_gib - (device.free_gib if device.free_gib is not None else 0.0)
            share = device.utilisation
            if share is None:
                share = used / device.memory_gib if device.memory_gib else 0.0
            rows.append(_row(str(number), share, f"{used:.1f}/{device.memory_gib:.0f}G", width))
        return lines(*rows)


def _row(name: str, share: float, size: str, width: int) -> Content:
    style = "$healthy" if share > 0.5 else "$caution"
    label: Part = (f"{name} ", "$label")
    label_room = Content(name).cell_length + 1
    pad = " " * max(0, 5 - label_room) if len(name) > 1 else ""
    room = max(6, width - label_room - len(pad) - 18)
    return line(
        label,
        pad,
        bar(share, room, style),
        (f" {share * 100:3.0f}%", "$value"),
        (f"  {size:>9}", "$detail"),
    )
