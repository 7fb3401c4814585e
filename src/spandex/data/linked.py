"""Clips that were mixed elsewhere, such as the challenge's test set, in a folder of ours."""

import os
from pathlib import Path

from spandex.data.dataset import NoisySpeech
from spandex.data.folders import FILE_ID
from spandex.errors import SpandexError


def link_clips(source: str | os.PathLike, directory: str | os.PathLike, clips: int) -> None:
    """Make ``directory`` hold links to the ``clips`` clips of ``source`` with the lowest file ids, and no others.

    Args:
        source: folder with noisy/, clean/ and noise/.
        directory: gets the same.
        clips: how many.

    Raises:
        SpandexError: ``source`` has fewer clips, or ``directory`` holds files that are not links.
    """
    found = NoisySpeech(source)
    if len(found) < clips:
        raise SpandexError(f"{source}: {clips} clips were asked for, and there are {len(found)}")
    ids = [FILE_ID.search(file.stem) for file in found.noisy_files]
    if None in ids:
        raise SpandexError(f"{found.noisy_files[ids.index(None)]}: its name does not end in fileid_N.wav")
    noise_files = [Path(source, "noise", f"noise_fileid_{match[1]}.wav") for match in ids]
    for name, files in (("noisy", found.noisy_files), ("clean", found.clean_files), ("noise", noise_files)):
        folder = Path(directory, name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.wav"):
            if not file.is_symlink():
                raise SpandexError(f"{file}: is no link, so it was not put here; choose another folder")
            file.unlink()
        for file in files[:clips]:
            (folder / file.name).symlink_to(file.resolve())
