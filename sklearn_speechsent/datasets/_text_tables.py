"""Text tables: from bytes to records with their lines, in any encoding, with any separator."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

SEPARATORS = (",", ";", "\t", "|")
#: The longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WORKBOOK = "an Excel workbook. Save it as CSV, or pass pandas.read_excel({path!r}, dtype=str)"
_AUDIO = "an audio file. A table names recordings in its column 'file', a line each"
#: First bytes of files that are no text, what they are and what to do.
_SIGNATURES = {
    b"PK\x03\x04": _WORKBOOK,
    b"\xd0\xcf\x11\xe0": _WORKBOOK,
    b"PAR1": "a parquet file. Let its name end in .parquet",
    b"\x1f\x8b": "a gzip file. Unpack it",
    b"%PDF": "a PDF. Save the table as CSV",
    b"RIFF": _AUDIO,
    b"fLaC": _AUDIO,
    b"OggS": _AUDIO,
    b"ID3": _AUDIO,
    b"<": "HTML or XML. Save the table as CSV, or pass pandas.read_html({path!r}, dtype=str)[0]",
    b"[": "JSON. Pass pandas.read_json({path!r}, dtype=False)",
    b"{": "JSON. Pass pandas.read_json({path!r}, dtype=False)",
}
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f]")
_SEP_LINE = re.compile(r'\s*"?sep=([^"\s]|\t)"?[ \t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)


@dataclass(frozen=True)
class TextTable:
    """Records of a text table.

    Parameters
    ----------
    names : list of str
        Fields of the header.
    records : list of list of str
        The others, none of them blank, each with as many fields as the header.
    lines : list of int
        Line of the file, from 1, on which each record begins.
    problems : list of str
        What was found instead of what was asked for.
    options : dict
        Parameters that read the table as what it is, with which no separator is looked for.
    """

    names: list[str]
    records: list[list[str]]
    lines: list[int]
    problems: list[str]
    options: dict[str, str]


def read_text_table(
    path: Path, *, sep: str | None, encoding: str | None, known: Collection[str]
) -> TextTable:
    """Read a table of text.

    Parameters
    ----------
    path : Path
    sep : str or None
        One character between fields; None for the one that the header has.
    encoding : str or None
        None for UTF-8. The mark with which UTF-8, UTF-16 and UTF-32 may begin is stronger.
    known : collection of str
        Names by which a header is recognised, in lower case.

    Returns
    -------
    TextTable

    Raises
    ------
    ValueError
        If it is not a table of text, or a line has more fields than the header or quotes that
        do not match; the line is named.
    """
    if sep is not None and (not isinstance(sep, str) or len(sep) != 1 or sep in '"\r\n '):
        raise ValueError(f"sep must be one character, such as ';' or '\\t', or None; got {sep!r}.")
    with path.open("rb") as file:
        start = file.read(64)
        _refuse_other_formats(start, path)
        content = start + file.read()
    text, used, problems = _decode(content, encoding, path)
    strange = _NO_TEXT.search(text)
    if strange:
        raise ValueError(
            f"{path}, line {_line(text, strange.start())}: the character {strange.group()!r} does "
            "not occur in texts. It is another kind of file, damaged, or in another encoding: save "
            "the table again as CSV in UTF-8."
        )
    hint = _SEP_LINE.match(text)
    first = hint.end() if hint else 0
    found = hint.group(1) if hint else _find_separator(text, known)
    if sep is None:
        sep = found
    elif sep != found and _known_names(text[first:], sep, known) < _known_names(
        text[first:], found, known
    ):
        problems.append(f"has {found!r} between its columns, not {sep!r}")
        sep = found
    records, lines = _parse(text, first, sep, path)
    if not records:
        raise ValueError(f"{path} is empty. A table has a header and a line for each recording.")
    names, *records = records
    _fit(records, lines[1:], len(names), sep, path)
    options = {"sep": sep, "encoding": used}
    return TextTable([name.strip() for name in names], records, lines[1:], problems, options)


def _refuse_other_formats(start: bytes, path: Path) -> None:
    for signature, kind in _SIGNATURES.items():
        if start.lstrip().startswith(signature):
            raise ValueError(f"{path} is not a text table but {kind.format(path=str(path))}.")


def _decode(content: bytes, encoding: str | None, path: Path) -> tuple[str, str, list[str]]:
    """Text and the encoding that fits, which is a problem if it is not the expected one."""
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    expected = marked or encoding or "utf-8"
    # ASCII in UTF-16 is valid UTF-8 too, with a NUL next to each letter.
    wide = not (marked or encoding) and content[:4000].count(0) > len(content[:4000]) / 4
    try:
        if not wide:
            return content.decode(expected), expected, []
        where = "NUL bytes between its letters"
    except LookupError as error:
        raise ValueError(
            f"encoding={encoding!r} is none that Python has. Pass one such as 'cp1252' or 'utf-16'."
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"byte 0x{content[error.start]:02X} in line {line}"
    except UnicodeError as error:
        where = str(error)
    if marked:
        raise ValueError(
            f"{path} begins with the mark of {marked.upper()} and is something else further on "
            f"({where}): it is damaged or cut off. Save it again as CSV in UTF-8."
        )
    if wide:
        little = content[1:4000:2].count(0) >= content[:4000:2].count(0)
        candidates = ["utf-16-le" if little else "utf-16-be"]
    else:
        candidates = ["utf-8", "cp1252", "latin-1"]
    for candidate in candidates:
        try:
            text = content.decode(candidate)
        except UnicodeError:
            continue
        problem = f"is not in {expected.upper()} ({where}), but may be {candidate}"
        return text, candidate, [problem]
    raise ValueError(
        f"{path} is not in {expected.upper()}: {where}. Save it again as CSV in UTF-8."
    )


def _find_separator(text: str, known: Collection[str]) -> str:
    """Separator that makes most known names of the header, or at least most names."""
    return max(SEPARATORS, key=lambda sep: _known_names(text, sep, known))


def _known_names(text: str, sep: str, known: Collection[str]) -> tuple[int, int]:
    """Known names in the header, and names."""
    header = re.search(r"\S[^\r\n]*|$", text)
    names = [name.strip(' "').lower() for name in header.group().split(sep)] if header else []
    return len(set(names) & set(known)), len(names)


def _parse(text: str, first: int, sep: str, path: Path) -> tuple[list[list[str]], list[int]]:
    """Records that are not blank, and the lines on which they begin."""
    before = _line(text, first) - 1
    stream = io.StringIO(text[first:], newline="")
    reader = csv.reader(stream, delimiter=sep, strict=True, skipinitialspace=True)
    records, lines, line = [], [], before + 1
    try:
        for record in reader:
            if any(field.strip() for field in record):
                records.append(record)
                lines.append(line)
            line = before + reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {line}: {error}. A text that holds {sep!r}, a quote or a line break "
            "stands in quotes, and quotes in it are doubled. Correct the line."
        ) from error
    return records, lines


def _fit(records: list[list[str]], lines: Sequence[int], n: int, sep: str, path: Path) -> None:
    """Give all records `n` fields: spreadsheets write too few or too many empty ones at the end."""
    for record, line in zip(records, lines, strict=True):
        while len(record) > n and not record[-1].strip():
            record.pop()
        if len(record) > n:
            raise ValueError(
                f"{path}, line {line} has {len(record)} fields, more than the {n} that the header "
                f"names: {sep.join(record)!r:.80}. Quote texts that hold {sep!r}; where numbers "
                "have decimal commas, columns need another separator."
            )
        record += [""] * (n - len(record))


def _line(text: str, position: int) -> int:
    return len(re.findall("\r\n|\r|\n", text[:position])) + 1
