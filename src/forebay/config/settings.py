"""What can be configured."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from forebay.acquisition.settings import AcquisitionSettings
from forebay.cluster import ClusterSpecification
from forebay.cluster.node import NodeSettings
from forebay.engine.settings import EngineSettings
from forebay.tiering.agreement import check_cache, check_copies, check_places, check_policies
from forebay.tiering.specification import TieringSettings, TierSpecification

type Key = tuple[str, ...]
"""The names on the way to one setting: ``("acquisition", "compression")``."""


def _cluster_name(name: str) -> str:
    # The name is a part of a variable's name too, where '__' is the dot.
    if not re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", name):
        raise ValueError("a name is lower-case letters and digits, with single '-' or '_' between")
    return name


class Settings(BaseSettings):
    """Everything that can be configured; `load_settings` reads it."""

    model_config = SettingsConfigDict(
        env_prefix="FOREBAY_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    runs: Path = Field(default=Path(), description="Folder of the runs.")
    results: Path | None = Field(
        default=None,
        description="Folder of the results; a folder results in the folder of the runs if not given.",
    )
    acquisition: AcquisitionSettings = Field(
        default=AcquisitionSettings(), description="How frames are recorded."
    )
    engine: EngineSettings = Field(default=EngineSettings(), description="How jobs are executed.")
    clusters: dict[Annotated[str, AfterValidator(_cluster_name)], ClusterSpecification] = Field(
        default={},
        validate_default=True,
        description="Clusters by name; 'local', workers on this machine, is always there.",
    )
    node: NodeSettings = Field(
        default=NodeSettings(), description="What this machine is for, for doctor and tune."
    )

    tiers: dict[Annotated[str, AfterValidator(_cluster_name)], TierSpecification] = Field(
        default={},
        description="Places where runs may lie, by name, the best to read from first; the folder "
        "of the runs is one of them.",
    )
    tiering: TieringSettings = Field(
        default=TieringSettings(), description="How runs are moved between tiers."
    )

    @field_validator("tiers")
    @classmethod
    def _apart(cls, tiers: dict[str, TierSpecification]) -> dict[str, TierSpecification]:
        check_places(tiers)
        return tiers

    @field_validator("tiering")
    @classmethod
    def _feasible(cls, tiering: TieringSettings, info: ValidationInfo) -> TieringSettings:
        if "tiers" in info.data:
            check_policies(tiering.policies, info.data["tiers"])
            check_cache(tiering.cache, info.data["tiers"])
            check_copies(tiering.policies, info.data["tiers"], tiering.min_copies)
        return tiering

    @field_validator("clusters", mode="before")
    @classmethod
    def _with_local(cls, clusters: Any) -> Any:
        if not isinstance(clusters, dict):
            return clusters
        local = clusters.get("local", {})
        if isinstance(local, dict):
            local = {"kind": "local"} | local
        return {"local": local} | {n: c for n, c in clusters.items() if n != "local"}

    @classmethod
    def settings_customise_sources(  # noqa: D102 (pydantic's own)
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # load_settings reads the environment itself, a variable at a time, and knows which
        # value came from where.
        return (init_settings,)


def leaves(branch: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Iterate over the single settings in a model, with their keys.

    Examples
    --------
    >>> dict(leaves(Settings()))["acquisition", "compression"]
    'none'
    """
    if isinstance(branch, BaseModel):
        branch = {name: getattr(branch, name) for name in type(branch).model_fields}
    if isinstance(branch, dict):
        for name, below in branch.items():
            yield from leaves(below, (*key, name))
    else:
        yield key, branch


def meaning(settings: Settings, key: str) -> str:
    """Return what a setting is, in words.

    Examples
    --------
    >>> meaning(Settings(), "acquisition.compression")
    'How the frames are packed.'
    """
    branch: Any = settings
    told = ""
    for name in key.split("."):
        if isinstance(branch, dict):
            branch = branch[name]
        else:
            told = type(branch).model_fields[name].description or told
            branch = getattr(branch, name)
    return told
