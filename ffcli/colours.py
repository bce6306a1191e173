"""The colours of Okabe and Ito, told apart by every kind of colour vision (jfly.uni-koeln.de/color)."""

BLUE, VERMILION, ORANGE = "#0072B2", "#D55E00", "#E69F00"
GREEN, PURPLE, SKY_BLUE = "#009E73", "#CC79A7", "#56B4E9"
