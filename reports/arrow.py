"""Reading Arrow streams that may be cut: every complete batch is taken, and what is missing is said."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_DAMAGE = (pa.ArrowException, OSError, ValueError)
_CATEGORIES = frozenset(
    {"name", "outcome", "tenant", "hop", "src", "dst", "replica", "flags", "witness", "node", "labels"}
)


def read_stream(path: Path, schema: pa.Schema) -> tuple[pd.DataFrame, str]:
    """Return the rows of an Arrow IPC stream and what is wrong with it.

    Parameters
    ----------
    path
        The file; it may be missing, empty, or cut at any byte.
    schema
        The columns that the file must have.

    Returns
    -------
    frame
        The rows of all complete batches; columns of few distinct strings are categories. Empty with the right columns
        when there is none.
    damage
        Empty when the stream is whole.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return _frame([], schema), f"{path.name}: {error.strerror}"
    batches, damage = _batches(data, schema)
    if not damage and not data.endswith(_END_OF_STREAM):
        damage = f"the stream has no end after {sum(batch.num_rows for batch in batches)} rows"
    return _frame(batches, schema), f"{path.name}: {damage}" if damage else ""


def _batches(data: bytes, schema: pa.Schema) -> tuple[list[Any], str]:
    batches: list[Any] = []
    try:
        reader = pa.ipc.open_stream(pa.BufferReader(data))
        if not reader.schema.equals(schema):
            return [], "its columns are not those of this version"
        for batch in reader:
            batch.validate(full=True)
            batches.append(batch)
    except _DAMAGE as error:
        return batches, f"cut after {sum(batch.num_rows for batch in batches)} rows ({str(error).splitlines()[0]})"
    return batches, ""


def _frame(batches: list[Any], schema: pa.Schema) -> pd.DataFrame:
    table = pa.Table.from_batches(batches, schema=schema)
    for index, field in enumerate(schema):
        if field.name in _CATEGORIES:
            table = table.set_column(index, field.name, table.column(index).dictionary_encode().unify_dictionaries())
    frame: pd.DataFrame = table.to_pandas()
    return frame
