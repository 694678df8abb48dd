"""Commands in progress, from the running.json that each writes while it runs, and the epochs of trainings."""

import json
from datetime import UTC, datetime
from pathlib import Path

from ariel_lib.provenance.progress import RUNNING
from ariel_lib.server.reading import FORMAT_ERRORS, ServedFolders, UnreadableFile, open_arrays, read_json
from ariel_lib.server.schemas import Epoch, Running
from ariel_lib.server.values import as_count, as_json, as_number, as_text, as_text_or_none

RUNNING_LIMIT = 2**20  # bytes
STATE = "state_{member}.safetensors"  # file name in training/loop.py, which imports torch and is therefore not imported here
MEMBERS_LIMIT = 100  # networks of one ensemble


def list_running(folders: ServedFolders) -> list[Running]:
    """The commands in progress under the served folder, in the order of their paths."""
    return [_read_running(folders, path) for path in folders.files()[0] if path.name == RUNNING and folders.file(path)]


def _read_running(folders: ServedFolders, path: Path) -> Running:
    about = {"id": folders.id(path), "folder": folders.name(path.parent)}
    try:
        content = read_json(path, RUNNING_LIMIT)
        age = max(datetime.now(UTC).timestamp() - path.stat().st_mtime, 0.0)
        return Running(
            **about, command=as_text(content.get("command"), 40), started=as_text_or_none(content.get("started")),
            seconds_since_update=round(age, 1), done=as_count(content.get("done")), total=as_count(content.get("total")),
            log=[as_text(line, 500) for line in content.get("lines") or []], history=read_live_history(folders, path.parent),
        )  # fmt: skip
    except (UnreadableFile, *FORMAT_ERRORS) as error:
        return Running(**about, command="?", problem=as_text(error))


def read_live_history(folders: ServedFolders, folder: Path) -> list[Epoch]:
    """Epochs of a training in progress or interrupted, from the state file of each network; unreadable ones are left out."""
    epochs = []
    for member in range(MEMBERS_LIMIT):
        state = folders.file(folder / STATE.format(member=member))
        if state is None:
            break
        try:
            with open_arrays(state) as arrays:
                entries = json.loads(arrays.metadata["history"])
            epochs += [_epoch(entry, member) for entry in as_json(entries)]
        except (UnreadableFile, *FORMAT_ERRORS):
            continue
    return epochs


def read_history(folders: ServedFolders, folder: Path) -> list[Epoch]:
    """Epochs of a finished training, from its metrics.json; none where that is missing or unreadable."""
    metrics = folders.file(folder / "metrics.json")
    try:
        entries = (read_json(metrics).get("history") or []) if metrics else []
        return [_epoch(entry, entry.get("member", 0)) for entry in entries]
    except (UnreadableFile, *FORMAT_ERRORS):
        return []


def _epoch(entry: dict, member: int) -> Epoch:
    return Epoch(member=int(member), epoch=int(entry["epoch"]), loss=as_number(entry["loss"]), score=as_number(entry["score"]))
