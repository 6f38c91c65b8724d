"""Page of a report: tables, pictures and players as one file of HTML that loads nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sklearn_speechsent.audio import Recording, read
from sklearn_speechsent.inspection.markdown import clean

#: Text of a cell, or two: a value, and below it its interval.
Cell = str | tuple[str, str]

#: Rate (Hz) of players, and of 32 kbit/s what soundfile calls it there.
_RATE, _COMPRESSION = 16000, 0.84
#: Colours of text and lines, on the light and on the dark ground of the template.
_INKS = {"light": "#1c212b", "dark": "#eceef2"}
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
_GROUNDS = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")


@dataclass(frozen=True)
class Table:
    """Table of a page.

    Parameters
    ----------
    caption : str
    columns : sequence of str
    rows : sequence of sequence of Cell
        The first cell of each is its heading.
    text : bool, default=False
        Whether cells are text rather than numbers.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text: bool = False


@dataclass(frozen=True)
class Picture:
    """Picture of a page.

    Parameters
    ----------
    light, dark : Markup
        As data URI.
    alt : str
        What is seen on it.
    caption : str
    """

    light: Markup
    dark: Markup
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Item:
    """Recording of a page.

    Parameters
    ----------
    name, text : str
    audio : Markup or None
        As data URI.
    """

    name: str
    text: str
    audio: Markup | None = None


@dataclass(frozen=True)
class Section:
    """Section of a page; what it has is shown in this order.

    Parameters
    ----------
    name : str
        Target of links.
    heading : str
    texts : sequence of str
        Paragraphs.
    pictures : sequence of Picture
    tables : sequence of Table
    pairs : bool
        Whether tables stand next to pictures, where there is room.
    recordings : sequence of Item
    given : sequence of (heading, text)
    code : str
    """

    name: str
    heading: str
    texts: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    pairs: bool = False
    recordings: Sequence[Item] = ()
    given: Sequence[tuple[str, str]] = field(default_factory=list)
    code: str = ""


def picture(draw: Callable[[], Any], alt: str, caption: str = "") -> Picture:
    """Draw a figure twice, for light and dark pages.

    Parameters
    ----------
    draw : callable
        Gives a figure of matplotlib.
    alt, caption : str

    Returns
    -------
    Picture
    """
    from matplotlib import pyplot, rc_context

    drawn = {}
    for theme, ink in _INKS.items():
        settings: Any = dict.fromkeys(_INKED, ink) | dict.fromkeys(_GROUNDS, "none")
        with rc_context({**settings, "svg.hashsalt": "report", "image.composite_image": True}):
            figure, content = draw(), io.BytesIO()
            # Without the date, the same picture has the same bytes.
            figure.savefig(content, format="svg", metadata={"Date": None})
            pyplot.close(figure)
        drawn[theme] = _data_uri("image/svg+xml", content.getvalue())
    return Picture(**drawn, alt=alt, caption=caption)


def player(recording: Recording) -> Markup:
    """Recording for a player of a page: MP3 of 32 kbit/s.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    Markup
        Data URI.

    Raises
    ------
    RecordingError
        If it cannot be read.
    """
    samples, content = read(recording, _RATE), io.BytesIO()
    loudest = max(float(np.abs(samples).max(initial=0)), 1.0)  # beyond full scale it would clip
    how = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": _COMPRESSION}
    soundfile.write(content, samples / loudest, _RATE, **how)
    return _data_uri("audio/mpeg", content.getvalue())


def _data_uri(kind: str, content: bytes) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")


def render(**content: Any) -> bytes:
    """Fill in the template; all text is escaped, whoever wrote it.

    Parameters
    ----------
    **content
        What ``report.html`` next to this file names.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: clean(value, keep="\n") if type(value) is str else value,
    )
    return environment.get_template("report.html").render(content).encode()
