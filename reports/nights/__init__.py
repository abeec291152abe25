"""Memory of earlier nights: a store on disk, the course of every quantity, and whether one has become worse."""

from reports.nights.collect import SuiteError, night_of
from reports.nights.records import Night
from reports.nights.store import Store, StoreError, append, frame, read
from reports.nights.trend import Trend, trend_of

__all__ = ["Night", "Store", "StoreError", "SuiteError", "Trend", "append", "frame", "night_of", "read", "trend_of"]
