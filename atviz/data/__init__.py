"""Images: the data sets that they come from, drawn worlds, styles and augmentation."""

from .adapt import AnyImages, as_images
from .augment import AUGMENTATIONS, Augmentation, find_augmentation
from .bars import progress, shorten
from .decode import decode, decode_upload
from .drawing import SHAPES, TEXTURES
from .images import Images, stratified
from .shapetex import CUES, ShapeTex, shapetex
from .sources import NAMES, SOURCES, augmentation, check_name, load
from .splits import Splits
from .stimuli import CATEGORIES, fetch_stimuli, load_stimuli
from .streamed import Streamed
from .styles import STYLE_KINDS, load_styles, procedural
from .world import WORLDS, World

__all__ = [
    "AUGMENTATIONS", "CATEGORIES", "CUES", "NAMES", "SHAPES", "SOURCES", "STYLE_KINDS", "TEXTURES", "WORLDS", "AnyImages", "Augmentation", "Images",
    "ShapeTex", "Splits", "Streamed", "World", "as_images", "augmentation", "check_name", "decode", "decode_upload", "fetch_stimuli",
    "find_augmentation", "load", "load_stimuli", "load_styles", "procedural", "progress", "shapetex", "shorten", "stratified",
]  # fmt: skip
