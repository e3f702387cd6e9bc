"""MVT behind the interfaces of other toolkits, one file per toolkit; here is what they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SourceError
from ...geometry import BGRImage


def bgr_from_rgb(image: Any) -> BGRImage:
    """Return an RGB image, a PIL image or an array uint8 ``[H, W, 3]``, as BGR uint8 ``[H, W, 3]``.

    Raises:
        SourceError: The image is of another kind; a grey image would else be mirrored, and floats be cut to zero.
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise SourceError(
            f"this toolkit's frames are RGB uint8 [height, width, 3], not {pixels.dtype} {list(pixels.shape)}: convert "
            "the frame first (a PIL image with .convert('RGB'), an array of 0..1 with (frame * 255).astype('uint8'))."
        )
    return np.ascontiguousarray(pixels[..., ::-1])
