"""What the name of a clip says of it, in words."""

import re

from spandex.data.dataset import SNR
from spandex.data.noise import KINDS

WORDS = {"babble": "babble", "coloured": "coloured noise", "engine": "an engine", "fan": "a fan"}
NOISE = re.compile(rf"(?:^|[-_])({'|'.join((*KINDS, 'babble'))})_\d{{4}}(?=[-_])")


def described(name: str) -> str:
    """Kind of noise and SNR, such as ``an engine at 4 dB SNR``; the name itself where it says neither.

    Args:
        name: of the noisy file, the challenge's; the synthetic corpus names its noise after its kind.
    """
    kinds = dict.fromkeys(WORDS.get(kind, kind) for kind in NOISE.findall(name))
    noise = " and ".join(kinds) or "noise"
    snr = SNR.search(name)
    return f"{noise} at {snr[1].replace('-', chr(0x2212))} dB SNR" if snr else noise if kinds else name
