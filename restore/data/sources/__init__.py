"""What training_path and testing_path may hold: folders of one's own, and data sets as their authors ship them."""

from typing import Annotated, Any

from options.base import PathText
from options.choices import TAG, Choices, Shorthand
from restore.data.sources.base import Found, ImageFile, Source
from restore.data.sources.file_list import FileList
from restore.data.sources.folders import Folder, PairedFolders
from restore.data.sources.low_light import ELD, SID
from restore.data.sources.rawir import RAWIR
from restore.data.sources.self_exsr import SelfExSR
from restore.data.sources.sidd import SIDD


def _section(entry: Any) -> Any:
    """A folder's path stands for a Folder, and a section without class_name for PairedFolders."""
    if isinstance(entry, dict):
        return {TAG: "PairedFolders"} | entry
    return {TAG: "Folder", "path": entry}


SOURCES = Choices(
    Source,
    Folder,
    FileList,
    PairedFolders,
    SIDD,
    SID,
    ELD,
    RAWIR,
    SelfExSR,
    shorthand=Shorthand(_section, lambda sources: PathText),
)
PathOptions = Annotated[Source, SOURCES]

__all__ = ["SOURCES", "FileList", "Folder", "Found", "ImageFile", "PairedFolders", "PathOptions", "Source"]
