"""A page that shows in a browser what a model made of a folder of images."""

from restore.report.page import Report, Table
from restore.report.shown import Shown

__all__ = ["Report", "Shown", "Table"]
