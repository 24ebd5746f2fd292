"""The npm packages that the sample's pictures and names come from, pinned."""

from llave.sample.fetch import Package

__all__ = ["ANIMATED_EMOJI", "EMOJI", "ICONS"]

EMOJI = (
    Package(
        "emoji-datasource-google",
        "16.0.0",
        "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
        "MIT; pictures Apache-2.0",
        "Noto Emoji by Google",
    ),
    Package(
        "emoji-datasource-twitter",
        "16.0.0",
        "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
        "MIT; pictures CC-BY 4.0",
        "Twemoji by Twitter and contributors",
    ),
    Package(
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
        "MIT",
        "Fluent Emoji 3D by Microsoft",
    ),
    Package(
        "emojibase-data",
        "17.0.0",
        "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
        "MIT",
        "Names, tags and groups by Emojibase",
    ),
)

ANIMATED_EMOJI = tuple(
    Package(f"@lobehub/fluent-emoji-anim-{number}", "1.0.0", integrity, "MIT", "Fluent Emoji animated by Microsoft")
    for number, integrity in (
        (1, "/4m31vAuZEQ4aUJ5pxcOU5PVkuJya55GRxUZL7+zgLlxZXpzzE8jPqpDyhZICE3n47nS/Y9M5/vLdizi8201QA=="),
        (2, "S6yzf0RZXrQbXdxCWuHA9BAoLdBRk2flX+ne4TPGEH/qApwisCAKHoAAGjKSlTY3OVeZ9b7t/NEbmpjawnQYJA=="),
        (3, "UzRSUDMjdfdt9vER5bhjHkPqgc3EEgfGtYs6ndvizOTvQOxYQ57ow2RTkWSDZxwW30X4EYBi2eWTS7CXDDoFsg=="),
        (4, "IIkl5ztSd1HrzvIDt/uGsFoC1WODXRdYq5uROrnkyqi9DbToEcJ1nlY86PnoUXeFS9nBCnHfiYk3ouSEGThFmA=="),
    )
)
"""In four parts by code point; 165 to 197 MB each."""

ICONS = (
    Package(
        "@tabler/icons",
        "3.52.0",
        "dldKlJNfO/gZnGLcIY0X2EFFKIMGwL/rEvTqglvBgAPFiwj9pZOCN5V3Sf0Gyjq6foX4VQmLdOmsS4w5FdWKAw==",
        "MIT",
        "Tabler Icons, also their names, tags and categories",
        "package/LICENSE",
    ),
    Package(
        "@mdi/svg",
        "7.4.47",
        "WQ2gDll12T9WD34fdRFgQVgO8bag3gavrAgJ0frN4phlwdJARpE6gO1YvLEMJR0KKgoc+/Ea/A0Pp11I00xBvw==",
        "Apache-2.0",
        "Material Design Icons by Pictogrammers",
        "package/LICENSE",
    ),
    Package(
        "@phosphor-icons/core",
        "2.1.1",
        "v4ARvrip4qBCImOE5rmPUylOEK4iiED9ZyKjcvzuezqMaiRASCHKcRIuvvxL/twvLpkfnEODCOJp5dM4eZilxQ==",
        "MIT",
        "Phosphor Icons, duotone",
        "package/LICENSE",
    ),
    Package(
        "lucide-static",
        "1.62.0",
        "WBZA/m2PvkFpMGHDtsBck5P2A9G4ehLlYu4GwwICcmEm1BvYVgj00lCDxKRWLlbMlOibLaiwdQ88G5pHkSWgwA==",
        "ISC; partly MIT",
        "Lucide by its contributors, partly after Feather",
        "package/LICENSE",
    ),
)
