"""`meta.json` of a cache of decoded pairs: what it may say (pix2pix/data/pair_cache.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pix2pix.data.registry import SPLITS

FORMAT = 1
"""Raised when the cache is laid out, or pixels are decoded, in another way."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.npy$")]


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _SplitMeta(_Stored):
    arrays: dict[str, FileName]
    labels: FileName | None
    names: list[str]


class CacheRecord(_Stored):
    """meta.json, which is read back as strictly as a file from elsewhere."""

    format: Literal[1]  # FORMAT
    name: str
    size: list[int]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    splits: dict[Literal["train", "val", "test"], _SplitMeta]
    bytes: dict[FileName, int]
    sha256: dict[FileName, str]

    @model_validator(mode="after")
    def _is_consistent(self) -> CacheRecord:
        files = {file for one in self.splits.values() for file in one.arrays.values()}
        files |= {one.labels for one in self.splits.values() if one.labels}
        if set(self.splits) != set(SPLITS) or files != set(self.bytes):
            raise ValueError("splits: not those of a cache")
        return self
