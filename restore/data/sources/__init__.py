"""What training_path and testing_path may hold: folders of one's own, and data sets as their authors ship them."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from restore.data.sources.base import DataSet, Found, PathText, Recording
from restore.data.sources.folders import Folder, PairedFolders
from restore.data.sources.low_light import ELD, SID
from restore.data.sources.rawir import RAWIR
from restore.data.sources.sidd import SIDD


def _kind(entry: Any) -> str:
    """The tag of an entry: what its class_name says, or two folders, or a folder's path."""
    if isinstance(entry, dict):
        return str(entry.get("class_name", "PairedFolders"))
    return entry.class_name if isinstance(entry, DataSet) else "folder"


PathOptions = Annotated[
    Annotated[PathText, Tag("folder")]
    | Annotated[PairedFolders, Tag("PairedFolders")]
    | Annotated[SIDD, Tag("SIDD")]
    | Annotated[SID, Tag("SID")]
    | Annotated[ELD, Tag("ELD")]
    | Annotated[RAWIR, Tag("RAWIR")],
    Discriminator(_kind),
]


def data_set(entry: str | DataSet) -> DataSet:
    """The data set of an entry of training_path or testing_path: a text is a folder."""
    return Folder(path=entry) if isinstance(entry, str) else entry


__all__ = ["DataSet", "Found", "PairedFolders", "PathOptions", "Recording", "data_set"]
