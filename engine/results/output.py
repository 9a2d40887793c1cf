"""What an algorithm returned, in the form in which it can be kept."""

import re
from typing import Any

import pandas as pd
import pyarrow as pa
import xarray as xr

from forebay.engine.errors import OutputError

type Output = xr.Dataset | pd.DataFrame
"""What a part holds: arrays with coordinates, or a table."""

_IS_NAME = re.compile(r"(?!__|\.+$)[^/\x00]+")
"""What Zarr takes for a name."""
UNNAMED = "result"
"""What an array is called that has no name of its own."""


def normalise(returned: Any, *, algorithm: str) -> Output:
    """Return what an algorithm returned as a Dataset or a DataFrame, in host memory.

    Parameters
    ----------
    returned
        An xarray object or a table.
    algorithm
        What returned it, for messages.

    Raises
    ------
    OutputError
        If it is something else, or holds what cannot be kept.
    """
    match returned:
        case xr.DataArray():
            taken = returned.name is None or returned.name in returned.coords
            name = UNNAMED if taken else returned.name
            return _checked(returned.to_dataset(name=name).as_numpy(), algorithm)
        case xr.Dataset():
            return _checked(returned.as_numpy(), algorithm)
        case pd.DataFrame():
            return _named(_with_columns(returned), algorithm)
        case pa.Table():
            return _named(returned.to_pandas(), algorithm)
    raise OutputError(
        f"{algorithm} returned an object of the type {type(returned).__name__}; return an xarray DataArray or "
        "Dataset, a pandas DataFrame or a pyarrow Table"
    )


def keepable(output: Output) -> pa.Table | xr.Dataset:
    """Return an output as it is written.

    Raises
    ------
    OutputError
        If it is a table that cannot be.
    """
    if isinstance(output, xr.Dataset):
        return output
    try:
        return pa.Table.from_pandas(output, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise OutputError(
            f"the table cannot be kept as Parquet ({' '.join(map(str, error.args))}); give the values "
            "of each column one type"
        ) from error


def _checked(arrays: xr.Dataset, algorithm: str) -> xr.Dataset:
    for name, variable in arrays.variables.items():
        if not isinstance(name, str) or not _IS_NAME.fullmatch(name) or name == "zarr.json":
            raise OutputError(
                f"{algorithm} returned a variable with the name {name!r}; a name is a text "
                "without '/', not of dots alone, that does not begin with '__'"
            )
        if variable.dtype.kind == "O":
            raise OutputError(
                f"{algorithm} returned {str(name)!r} with the dtype object; give it numbers, "
                "times or texts of a fixed length"
            )
    return arrays


def _named(table: pd.DataFrame, algorithm: str) -> pd.DataFrame:
    """Refuse columns that cannot be told apart by a name."""
    if table.columns.nlevels > 1:
        raise OutputError(
            f"the columns of the table that {algorithm} returned have names of "
            f"{table.columns.nlevels} levels; give each column one name"
        )
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise OutputError(
            f"{algorithm} returned a table with more than one column {twice!r}; give each column a "
            "name of its own"
        )
    return table


def _with_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with what its index tells as columns; a plain count of rows is left out."""
    named = any(name is not None for name in table.index.names)
    return table.reset_index(drop=not named)
