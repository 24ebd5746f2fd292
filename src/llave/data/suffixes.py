"""What a file is by its name: the one list that folders, archives and messages go by. In lower case, with the dot."""

__all__ = ["ANIMATIONS", "DOCUMENTS", "FILMS", "PICTURES", "SOUNDS", "TEXTS"]

JPEG = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}
HEIF = {".heic", ".heif", ".hif"}
TIFF = {".tif", ".tiff"}
PLAIN = {".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".avif", ".ico", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm"}

PICTURES = frozenset(JPEG | HEIF | TIFF | PLAIN)
"""What :func:`llave.data.images.load_image` reads."""
ANIMATIONS = frozenset({".gif", ".webp", ".png", ".apng"})
"""Pictures that may move: :func:`llave.data.video.is_animated` tells."""
FILMS = frozenset(
    {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".3gp", ".3g2", ".mpg", ".mpeg", ".m2ts", ".wmv", ".flv", ".ogv"}
)
"""What :func:`llave.data.video.load_video` reads, besides animations and folders of frames."""
SOUNDS = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".weba", ".mka"}
)
"""What :func:`llave.data.sound.load_sound` reads."""
DOCUMENTS = frozenset({".pdf", *TIFF})
"""What may have pages: :func:`llave.data.pages.count_pages` tells. A TIFF of one page is a picture."""
TEXTS = frozenset({".txt", ".md"})
