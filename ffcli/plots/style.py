"""The style that all figures share."""

BLUE, VERMILION, ORANGE = "#0072B2", "#D55E00", "#E69F00"
GREEN, PURPLE, SKY_BLUE = "#009E73", "#CC79A7", "#56B4E9"
"""The colours of Okabe and Ito, which people with any kind of colour vision can tell apart
(jfly.uni-koeln.de/color)."""


def plain(text: str) -> str:
    """Escape dollar signs: matplotlib sets the text between two of them as mathematics."""
    return text.replace("$", r"\$")
