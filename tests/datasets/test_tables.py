"""Tables as spreadsheets and other programs write them: read, or named as what they are."""

import os
import re
import sys
import unicodedata

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_speechsent.datasets import load_manifest

#: What every table below says.
LABELS, SPEAKERS = [-1.5, 2.0, 0.5], ["Jürgen", "Ana", "Jürgen"]


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    """Folder with three recordings, which is the present one."""
    for name in ("001.wav", "002.wav", "Größe.wav"):
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(4000), 8000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(bunch):
    assert [os.path.basename(file) for file in bunch.data] == ["001.wav", "002.wav", "Größe.wav"]
    assert bunch.target.tolist() == LABELS and bunch.groups.tolist() == SPEAKERS


def lines(sep=",", decimal=".", header=("file", "label", "speaker")):
    rows = zip(("001.wav", "002.wav", "Größe.wav"), LABELS, SPEAKERS, strict=True)
    text = [[file, str(label).replace(".", decimal), who] for file, label, who in rows]
    return [
        sep.join(f'"{cell}"' if sep in cell else cell for cell in row) for row in [header, *text]
    ]


def write(rows, end="\n", encoding="utf-8"):
    with open("t.csv", "wb") as file:
        file.write((end.join(rows) + end).encode(encoding))
    return "t.csv"


def follow(error):
    """Do what the message of an error says."""
    call = str(error.value).partition("this reads it:\n")[2]
    assert call, f"no call in: {error.value}"
    return eval(call, {"load_manifest": load_manifest, "pd": pd})


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_tables_that_say_themselves_how_they_are_written(folder, sep, end, encoding):
    check(load_manifest(write(lines(sep), end, encoding)))


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("sep", "decimal", "header"),
    [
        (";", ",", ("filename", "rating", "subject")),
        ("\t", ".", ("Path", "Score", "Speaker ")),
        (",", ",", ("file", "label", "participant")),
    ],
)
def test_the_call_in_the_error_reads_the_table(folder, encoding, sep, decimal, header):
    path = write(lines(sep, decimal, header), "\r\n", encoding)
    with pytest.raises(
        ValueError, match=re.escape(f"may be {encoding.replace('latin-1', 'cp1252')}")
    ) as error:
        load_manifest(path)
    check(follow(error))
    if decimal == ",":
        assert "'-1,5' in row 0 (line 2, 001.wav)" in str(error.value)


def test_parameters_read_what_they_say(folder):
    path = write(lines(";", ",", ("filename", "Rating", "subject")), encoding="cp1252")
    columns = {"filename": "file", "rating": "label", "subject": "speaker"}
    check(load_manifest(path, sep=";", decimal=",", columns=columns, encoding="cp1252"))
    table = pd.read_csv(path, sep=";", encoding="cp1252", dtype=str)
    check(load_manifest(table, decimal=",", columns=columns))
    table = pd.read_csv(path, sep=";", encoding="cp1252", decimal=",", index_col=0)
    check(load_manifest(table.reset_index(), columns=columns))
    with pytest.raises(ValueError, match=r"They are in its index: call reset_index"):
        load_manifest(table.rename_axis("file"), columns={"rating": "label", "subject": "speaker"})


def test_what_other_parameters_were_given_stays_in_the_call(folder):
    path = write(lines(";", ","))
    with pytest.raises(
        ValueError, match=r"audio_dir='\.', levels=\(-2, 2\), sep=';', decimal=','\)"
    ):
        load_manifest(path, audio_dir=".", levels=(-2, 2), sep=";")
    with pytest.raises(ValueError, match="has ';' between its columns, not '\\\\t'") as error:
        load_manifest(path, sep="\t")
    check(follow(error))
    with pytest.raises(
        ValueError, match=r"has decimal points in column 'label' \('-1\.5'"
    ) as error:
        load_manifest(write(lines()), decimal=",")
    check(follow(error))


def test_first_line_of_excel_and_what_spreadsheets_leave_at_the_end(folder):
    rows = ["sep=;", *(line + ";;" for line in lines(";")), ";;;;", "", "  ;;"]
    bunch = load_manifest(write(rows, "\r\n"))
    check(bunch)
    assert list(bunch.frame.columns) == ["file", "label", "speaker"]
    with pytest.raises(ValueError, match=r"'x' in row 1 \(line 4, 002\.wav\)"):
        load_manifest(write([*rows[:3], "002.wav;x;Ana;;"], "\r\n"))


def test_index_of_another_table_blanks_and_upper_case(folder):
    rows = [f"{k} , {line} " for k, line in enumerate(lines(header=("File", " LABEL", "Speaker ")))]
    rows[0] = rows[0][1:]
    bunch = load_manifest(write(rows))
    check(bunch)
    assert bunch.frame["Unnamed: 0"].tolist() == [1, 2, 3]


def test_lines_in_quotes_are_counted(folder):
    rows = lines()
    rows = [rows[0] + ",text", rows[1] + ',"one\ntwo, ""three"""', rows[2].replace("2.0", "much")]
    with pytest.raises(ValueError, match=r"'much' in row 1 \(line 4, 002\.wav\) is not a number"):
        load_manifest(write(rows))


def test_rows_shorter_than_the_header_are_not_shifted(folder):
    rows = [*lines()[:3], "Größe.wav"]
    with pytest.warns(UserWarning) as record:
        bunch = load_manifest(write(rows))
    assert "speaker of 1 of 3" in str(record[0].message)
    assert bunch.report[["row", "problem"]].to_numpy().tolist() == [[2, "no label"]]
    assert bunch.target.tolist() == LABELS[:2]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1.234,5", "separated thousands"),
        ("1,234,567", "separated thousands"),
        ("50%", "a percentage"),
        ("01.02.2024", "a date"),
        ("2024-02-01 00:00:00", "a date"),
        ("02. Jan", "Write numbers such as"),
        ("Jan 02", "a date"),
        ("0:30", "a time of day"),
        ("1_0", "Write numbers such as"),
        ("infinity", "a word: write the number that it stands for"),
        ("1e999", "Write numbers such as"),
        ("0x1", "Write numbers such as"),
        ("TRUE", "a word"),
        ("sehr gut", "a word"),
        ("=A1+1", "Write numbers such as"),
    ],
)
def test_cells_that_are_no_numbers(folder, cell, message):
    rows = lines()
    rows[2] = f'002.wav,"{cell}",Ana'
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_manifest(write(rows))
    assert f"{cell!r} in row 1 (line 3, 002.wav)" in str(error.value)


def test_both_decimal_marks_are_not_guessed(folder):
    rows = lines()
    rows[1] = '001.wav,"-1,5",Jürgen'
    with pytest.raises(
        ValueError, match=r"'-1,5' in row 0 .* decimal comma, while others have a p"
    ):
        load_manifest(write(rows))
    with pytest.raises(ValueError, match=r"'2\.0' in row 1"):
        load_manifest("t.csv", decimal=",")


@pytest.mark.parametrize("nothing", ["", " ", "NA", "null", "#N/A", "NaN"])
def test_empty_labels_are_reported_and_a_speaker_may_be_NA(folder, nothing):
    rows = lines()
    rows[1:3] = [f"001.wav,{nothing},NA", "002.wav,\N{MINUS SIGN}2,NA"]
    with pytest.warns(UserWarning, match=r"no label: 1, left out\n    row 0, .*001\.wav"):
        bunch = load_manifest(write(rows))
    assert bunch.target.tolist() == [-2, 0.5] and bunch.groups.tolist() == ["NA", "Jürgen"]


def test_names_of_files_stay_text(folder):
    (folder / "001").mkdir()
    for k, name in enumerate(("001", "1e5", "0x10")):
        tone = np.sin(np.arange(4000) / (k + 2))
        soundfile.write(folder / "001" / name, tone, 8000, format="WAV")
    rows = ["file,label,speaker", "001,1,007", "1e5,2,7", "0x10,3,1e5"]
    bunch = load_manifest(write(rows), audio_dir="001")
    assert [os.path.basename(file) for file in bunch.data] == ["001", "1e5", "0x10"]
    assert bunch.groups.tolist() == ["007", "7", "1e5"]
    with pytest.raises(ValueError, match=r"column 'file': 1 in row 0 \(1\).*001 may have become 1"):
        load_manifest(pd.DataFrame({"file": [1, 2], "label": [1, 2]}))
    with pytest.raises(ValueError, match=r"os\.fsdecode"):
        load_manifest(pd.DataFrame({"file": [b"001.wav"], "label": [1]}))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,label,label", "more than one column 'label'"),
        ("file,Label,LABEL", "has the columns 'Label', 'LABEL', and only one can be"),
        ("file,Datei,Wertung", "lacks 'label'; its columns are 'file', 'Datei', 'Wertung'"),
    ],
)
def test_columns_that_are_not_clear(folder, header, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_manifest(write([header, "001.wav,1,2"]))


def test_columns_in_the_wrong_direction_or_in_the_way(folder):
    path = write(lines(header=("file", "rating", "speaker")))
    with pytest.raises(ValueError, match="the table's own name comes first"):
        load_manifest(path, columns={"label": "rating"})
    path = write([f"{line},x" for line in lines(header=("file", "rating", "speaker"))[1:]])
    rows = lines(header=("file", "rating", "speaker"))
    path = write([f"{rows[0]},label", *(f"{row},neutral" for row in rows[1:])])
    with pytest.raises(ValueError, match="has both 'label' and 'rating'") as error:
        load_manifest(path, columns={"rating": "label"})
    bunch = follow(error)
    check(bunch)
    assert bunch.frame["label_given"].tolist() == ["neutral"] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"PK\x03\x04" + bytes(100),
            "an Excel workbook. Save it as CSV, or pass pandas.read_excel",
        ),
        (b"\xd0\xcf\x11\xe0\xa1", "an Excel workbook"),
        (b"PAR1", "a parquet file"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"RIFF\0\0\0\0WAVE", "an audio file"),
        (b"ID3\x04", "an audio file"),
        (b"\xff\xfb\x90\x64" + bytes(range(256)), "does not occur in texts"),
        (b'[{"file": "001.wav", "label": NaN}]', "pandas.read_json('t.csv', dtype=False)"),
        (b"\n<html><table>", "HTML"),
        (
            b"file,label\n001.wav,1\n002.wav,\x00\n",
            "line 3: the character '\\x00' does not occur in texts",
        ),
        (b"\xff\xfef\x00i\x00l", "begins with the mark of UTF-16 and is something else further on"),
        (b"file,label\n" + b"a" * 200_000 + b",1\n", "line 2: field larger than field limit"),
        (b"file,label\n001.wav,1\n" + b'"002.wav,2\n' * 3, "line 3"),
        (b"file\n001.wav\n", "lacks 'label'; its columns are 'file'"),
        (b"\xef\xbb\xbf", "is empty"),
    ],
)
def test_files_that_are_no_tables(folder, content, message):
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(
        ValueError, match=message.replace("(", r"\(").replace(")", r"\)").replace("\\x", r"\\x")
    ) as error:
        load_manifest("t.csv")
    assert str(error.value).startswith("t.csv")


def test_json_with_a_missing_number(folder):
    (folder / "t.json").write_text(
        '[{"file": "001.wav", "label": 1.5, "speaker": "a"},'
        ' {"file": "002.wav", "label": null, "speaker": "a"}]'
    )
    with pytest.raises(ValueError, match=r"JSON\. Pass pandas\.read_json") as error:
        load_manifest("t.json")
    call = re.search(r"pandas\.(read_json\(.*\))", str(error.value))
    with pytest.warns(UserWarning, match="no label: 1, left out"):
        bunch = load_manifest(eval(f"pd.{call[1]}"))
    assert bunch.target.tolist() == [1.5]


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "ascii"])
def test_encodings_that_do_not_read_it(folder, encoding):
    with pytest.raises(ValueError, match=r"encoding='k|encoding='r|is not in ASCII .*may be utf-8"):
        load_manifest(write(lines()), encoding=encoding)


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_the_call_has_the_encoding_that_reads_it(folder, encoding):
    path = write([*lines(), "002.wav,1,\u00e9\u00fc"])
    with pytest.raises(ValueError, match="may be utf-8") as info:
        load_manifest(path, encoding=encoding)
    call = str(info.value).splitlines()[-1].strip()
    assert "encoding='utf-8'" in call


def test_levels_of_a_table_are_numbers(folder):
    with pytest.raises(ValueError, match=r"levels=\['low', 'high'\] are words"):
        load_manifest(write(lines()), levels=["low", "high"])


@pytest.mark.parametrize("table", [None, ["001.wav"], {"file": ["001.wav"]}, b"t.csv"])
def test_what_is_neither_a_path_nor_a_table(table):
    with pytest.raises(TypeError, match="A table is a path or a DataFrame, got"):
        load_manifest(table)


@pytest.mark.parametrize("parameters", [{"sep": ";;"}, {"sep": ""}, {"sep": '"'}, {"decimal": ";"}])
def test_wrong_parameters(folder, parameters):
    with pytest.raises(ValueError, match="must be"):
        load_manifest(write(lines()), **parameters)


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("über.wav", unicodedata.normalize("NFD", "über.wav")),
        (unicodedata.normalize("NFD", "über.wav"), "über.wav"),
        ("a.wav  ", "a.wav"),
        (" a.wav", "a.wav"),
        ("a.wav", "a.WAV"),
        ("a.WAV", "a.wav"),
        ("sub\\a.wav", "sub/a.wav"),
        (".\\sub\\A.Wav", "sub/A.wav"),
        ("~/a.wav", "a.wav"),
    ],
)
def test_names_that_another_system_wrote(folder, monkeypatch, written, there):
    monkeypatch.setenv("HOME", str(folder))
    (folder / "sub").mkdir()
    soundfile.write(folder / there, np.ones(4000), 8000)
    bunch = load_manifest(write([*lines(), f'"{written}",1,Ana']))
    assert bunch.data[3] == str(folder / there) and bunch.target[3] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes")
def test_names_that_are_not_unicode(folder, rng):
    """Names as os.listdir gives them, and as a table in the same encoding writes them."""
    name = os.fsencode(folder) + b"/J\xfcrgen.wav"
    with open(name, "wb") as file:
        soundfile.write(file, 0.1 * rng.standard_normal(4000), 8000, format="WAV")
    path = write(["file,label,speaker", "001.wav,1,a", "Jürgen.wav,2,b"], encoding="latin-1")
    bunch = load_manifest(path, encoding="latin-1")
    assert [os.fsencode(file) for file in bunch.data][1] == name
    listed = [file for file in sorted(os.listdir()) if file.endswith("rgen.wav")]
    columns = {"start": 0.0, "end": [0.2, 0.3, 0.3], "split": ["train", "test", "test"]}
    frame = pd.DataFrame({"label": [1, 2, 3], **columns})
    frame["file"] = pd.Series([*listed, *listed, "gone\udcfc.wav"], dtype=object)
    with pytest.warns(UserWarning) as record:
        bunch = load_manifest(frame)
    assert bunch.target.tolist() == [1, 2]
    assert bunch.report["problem"].tolist() == [
        "speaker in several splits",
        "overlap across splits",
        "missing",
    ]
    assert os.fsencode(bunch.report["file"].iloc[2]).endswith(b"gone\xfc.wav")
    assert len(record) == 2


@pytest.mark.parametrize(
    "name", ["a\0.wav", "x" * 5000, ".", "001.wav/x", "~nobody/a.wav", "\udcfc"]
)
def test_names_that_no_file_can_have_are_reported(folder, name):
    frame = pd.DataFrame({"label": [1, 2], "speaker": list("ab")})
    frame["file"] = pd.Series(["001.wav", name], dtype=object)
    with pytest.warns(UserWarning, match=r"1 of 2 rows are left out"):
        bunch = load_manifest(frame)
    assert bunch.report["row"].tolist() == [1] and bunch.target.tolist() == [1]
