"""Tables as people have them: whatever the names, separators, dates and numbers, the same series comes out."""

import argparse

import numpy as np
import pandas as pd
import pytest

from tsar.cli import main
from tsar.cli.tables import read_further, read_input
from tsar.errors import FrameError, OptionError
from tsar.frame import normalize_frame

DAYS = pd.date_range("2024-01-03", periods=60, freq="D")
VALUES = 1000 + np.round(100 * np.sin(np.arange(60.0)), 2)


def options_of(path, **given):
    names = {"id_column": "item_id", "timestamp_column": "timestamp", "target": "target", "date_format": None}
    return argparse.Namespace(input=path, **names | given)


def read(tmp_path, content, name="table.csv", **given):
    """Read a file; return the table, its clean form, and the options as they are then."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    options = options_of(path, **given)
    table = read_input(options)
    return table, options


def panel_of(table, options):
    return normalize_frame(
        table, id_column=options.id_column, timestamp_column=options.timestamp_column, target=options.target
    )


def decimal_commas(values):
    return [f"{value:,.2f}".translate(str.maketrans(",.", ".,")) for value in values]


def columns(dates, values, ids="A"):
    return pd.DataFrame({"Filiale": ids, "Datum": dates, "Umsatz": values})


@pytest.mark.parametrize(
    ("date_format", "values", "how"),
    [
        ("%d.%m.%Y", decimal_commas(VALUES), {"sep": ";", "encoding": "utf-8-sig"}),
        ("%d.%m.%y", decimal_commas(VALUES), {"sep": "\t", "encoding": "utf-16"}),
        ("%m/%d/%Y", VALUES, {}),
        ("%d/%m/%Y", VALUES, {"encoding": "utf-8-sig"}),
        ("%m/%d/%Y %H:%M", [f"{value:,.2f}" for value in VALUES], {}),
        ("%d-%b-%Y", VALUES, {"sep": "|"}),
        ("%Y%m%d", VALUES, {}),
        ("%Y-%m-%d", VALUES, {"sep": ";"}),
    ],
)
def test_every_spelling_is_the_same_series(date_format, values, how, tmp_path):
    frame = columns(DAYS.strftime(date_format), values)
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False, **how)
    options = options_of(path)
    panel = panel_of(read_input(options), options)
    assert (options.id_column, options.timestamp_column, options.target) == ("Filiale", "Datum", "Umsatz")
    assert panel.item_ids.tolist() == ["A"]
    assert panel.freq == "D"
    np.testing.assert_allclose(panel.values, VALUES)


def test_what_is_guessed_is_told_and_plain_tables_are_silent(tmp_path, capsys):
    read(tmp_path, columns(DAYS, VALUES).to_csv(index=False))
    err = capsys.readouterr().err
    assert "guessed timestamps: 'Datum' (by its name)" in err
    assert "To say it: --id-column Filiale --timestamp-column Datum --target Umsatz" in err
    plain = columns(DAYS, VALUES).set_axis(["item_id", "timestamp", "target"], axis=1)
    read(tmp_path, plain.to_csv(index=False))
    assert capsys.readouterr() == ("", "")


def test_ids_stay_as_they_are_written(tmp_path):
    table, options = read(tmp_path, columns(DAYS, VALUES, "007").to_csv(index=False), id_column="Filiale")
    assert table["Filiale"].tolist()[0] == "007"
    frame = pd.concat([columns(DAYS, VALUES, "007"), columns(DAYS, VALUES, "08")]).rename(columns={"Filiale": "nr_x"})
    table, options = read(tmp_path, frame.to_csv(index=False))
    assert options.id_column == "nr_x"
    assert panel_of(table, options).item_ids.tolist() == ["007", "08"]


def test_one_series_without_an_id(tmp_path):
    table, options = read(tmp_path, columns(DAYS, VALUES).drop(columns="Filiale").to_csv())
    assert options.id_column is None
    assert options.target == "Umsatz"  # and not the row numbers
    assert panel_of(table, options).num_items == 1


def test_a_row_number_is_no_id(tmp_path):
    frame = pd.concat([columns(DAYS, VALUES, "A"), columns(DAYS, VALUES, "B")], ignore_index=True)
    _, options = read(tmp_path, frame.reset_index(names="id").to_csv(index=False))
    assert (options.id_column, options.target) == ("Filiale", "Umsatz")


def test_what_was_learned_from_a_wide_table_takes_wide_tables(tmp_path, capsys):
    wide = pd.DataFrame({"date": DAYS, "north": VALUES, "south": 2 * VALUES})
    table, options = read(tmp_path, wide.to_csv(index=False))
    wide.to_csv(tmp_path / "further.csv", index=False)
    capsys.readouterr()
    pd.testing.assert_frame_equal(read_further(tmp_path / "further.csv", options), table)
    assert "each column is a series by itself: 'north', 'south'" in capsys.readouterr().err
    table.to_csv(tmp_path / "long.csv", index=False)
    assert read_further(tmp_path / "long.csv", options).columns.tolist() == table.columns.tolist()
    assert capsys.readouterr().err == ""


def test_a_wide_table_is_a_series_a_column(tmp_path, capsys):
    wide = pd.DataFrame({"date": DAYS, "north": VALUES, "south": 2 * VALUES, "west": VALUES, "east": VALUES})
    table, options = read(tmp_path, wide.to_csv(index=False))
    panel = panel_of(table, options)
    assert panel.item_ids.tolist() == ["north", "south", "west", "east"]
    np.testing.assert_allclose(panel.values[60:120], 2 * VALUES)
    assert "'north', 'south', 'west' and 1 more" in capsys.readouterr().err


def test_covariates_are_no_series(tmp_path):
    frame = pd.DataFrame({"date": DAYS, "visits": VALUES, "promotion": 1.0})
    _, options = read(tmp_path, frame.to_csv(index=False), future_covariates=("promotion",))
    assert options.target == "visits"


def test_a_second_table_is_read_by_the_names_of_the_first(tmp_path):
    _, options = read(tmp_path, columns(DAYS.strftime("%d.%m.%Y"), decimal_commas(VALUES)).to_csv(sep=";", index=False))
    future = pd.DataFrame({"Filiale": "A", "Datum": ["03.03.2024", "31.03.2024"], "Rabatt": ["0,5", "1,0"]})
    (tmp_path / "future.csv").write_text(future.to_csv(sep=";", index=False))
    table = read_further(tmp_path / "future.csv", options)
    assert table["Datum"].tolist() == [pd.Timestamp("2024-03-03"), pd.Timestamp("2024-03-31")]
    assert table["Rabatt"].tolist() == [0.5, 1.0]


def test_firsts_of_months_are_months_and_not_days_of_january(tmp_path):
    months = pd.date_range("2022-01-01", periods=30, freq="MS")
    for date_format in ("%d/%m/%Y", "%m/%d/%Y"):
        table, options = read(tmp_path, columns(months.strftime(date_format), VALUES[:30]).to_csv(index=False))
        assert panel_of(table, options).freq == "MS", date_format


def test_what_can_be_read_in_two_ways_is_asked_back(tmp_path):
    text = columns(["01/02/2024", "02/03/2024", "03/04/2024"], VALUES[:3]).to_csv(index=False)
    with pytest.raises(OptionError, match=r"can be read as .* and as .* Hint: Say which: --date-format"):
        read(tmp_path, text)
    table, _ = read(tmp_path, text, date_format="%d/%m/%Y")
    assert table["Datum"].tolist()[0] == pd.Timestamp("2024-02-01")
    with pytest.raises(OptionError, match=r"--date-format %Y does not fit 'Datum'"):
        read(tmp_path, text, date_format="%Y")


def test_one_thousand_or_one_is_not_decided(tmp_path):
    table, options = read(tmp_path, columns(DAYS[:4], ["1,234", "1,235", "1,236", "1,237"]).to_csv(index=False))
    with pytest.raises(FrameError, match=r"frame.non_numeric_target"):
        panel_of(table, options)


@pytest.mark.parametrize(
    ("frame", "option"),
    [
        (pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), "--timestamp-column"),
        (pd.DataFrame({"von": ["2024-01-01"], "bis": ["2024-01-02"], "Umsatz": [1.0]}), "--timestamp-column"),
        (pd.DataFrame({"date": DAYS, "note": "x"}), "--target"),
        (pd.DataFrame({"date": [DAYS[0]] * 4, "a": list("xxyy"), "b": list("uvuv"), "y": 1.0}), "--id-column"),
        (pd.DataFrame({"date": [*DAYS[:2]] * 2, "a": list("xxyy"), "b": list("uuvv"), "y": 1.0}), "--id-column"),
    ],
)
def test_what_cannot_be_told_names_the_option(frame, option, tmp_path):
    with pytest.raises(OptionError, match=option) as caught:
        read(tmp_path, frame.to_csv(index=False))
    assert caught.value.code == "cli.bad_input"


def test_a_name_that_is_given_is_never_guessed(tmp_path):
    table, options = read(tmp_path, columns(DAYS, VALUES).to_csv(index=False), target="Umsaetze")
    assert options.target == "Umsaetze"
    with pytest.raises(FrameError, match=r"no column 'Umsaetze'"):
        panel_of(table, options)


MONTHS = pd.date_range("2021-01-01", periods=30, freq="MS")


@pytest.mark.parametrize(
    ("written", "first", "freq"),
    [
        ([f"{day:%Y}Q{day.quarter}" for day in MONTHS[::3]], "2021-01-01", "QS-OCT"),
        ([f"{day:%Y}-Q{day.quarter}" for day in MONTHS[::3]], "2021-01-01", "QS-OCT"),
        ([f"Q{day.quarter} {day:%Y}" for day in MONTHS[::3]], "2021-01-01", "QS-OCT"),
        ([f"2024-W{week:02d}" for week in range(5, 30)], "2024-01-29", "W-MON"),
        ([f"2020W{week:02d}" for week in range(40, 54)], "2020-09-28", "W-MON"),
        (MONTHS.strftime("%b %y"), "2021-01-01", "MS"),
        (MONTHS.strftime("%m.%Y"), "2021-01-01", "MS"),
        (MONTHS.strftime("%Y%m"), "2021-01-01", "MS"),
        (DAYS.as_unit("s").astype("int64"), "2024-01-03", "D"),
        (DAYS.as_unit("ms").astype("int64"), "2024-01-03", "D"),
    ],
)
def test_periods_of_the_year_are_their_first_days(written, first, freq, tmp_path, capsys):
    table, options = read(tmp_path, columns(written, VALUES[: len(written)]).to_csv(index=False))
    assert table["Datum"].iloc[0] == pd.Timestamp(first)
    assert panel_of(table, options).freq == freq
    assert "'Datum' is read as" in capsys.readouterr().err


def test_a_week_that_a_year_does_not_have_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"Row 0 of 'Datum' is no date: '2021-W53'"):
        read(tmp_path, columns(["2021-W53", "2022-W01"], VALUES[:2]).to_csv(index=False))


def test_years_with_a_point_are_whole_numbers(tmp_path, capsys):
    table, _ = read(tmp_path, columns(np.arange(1871.0, 1931), VALUES).to_csv(index=False))
    assert table["Datum"].tolist() == list(range(1871, 1931))
    assert "'Datum' is read as whole numbers" in capsys.readouterr().err


def test_rows_without_anything_are_left_out(tmp_path, capsys):
    frame = pd.concat([columns(DAYS, VALUES, "007"), columns(DAYS, VALUES, "008")])
    text = frame.rename(columns={"Filiale": "nr_x"}).to_csv(index=False)
    text = text.replace("\n007,2024-01-10", "\n,,\n007,2024-01-10") + ",,\n"
    table, options = read(tmp_path, text)
    assert "left out: 2" in capsys.readouterr().err
    assert panel_of(table, options).item_ids.tolist() == ["007", "008"]
    np.testing.assert_allclose(table["Umsatz"], np.tile(VALUES, 2))


@pytest.mark.parametrize(
    ("written", "note"),
    [
        ([f"${value:,.2f}" for value in VALUES], "signs that are left out"),
        ([f"{value:.2f} %" for value in VALUES], "signs that are left out"),
        ([f"{value} €" for value in decimal_commas(VALUES)], "has decimal commas, has signs"),
        (["-", *map(str, VALUES[1:])], "missing where it says '-', 1 times"),
        (["..", *VALUES[1:].astype(int).astype(str)], "missing where it says '..', 1 times"),
    ],
)
def test_signs_and_dashes_beside_numbers(written, note, tmp_path, capsys):
    table, _ = read(tmp_path, columns(DAYS, written).to_csv(index=False))
    assert note in capsys.readouterr().err
    seen = table["Umsatz"].to_numpy()
    np.testing.assert_allclose(seen[1:], VALUES[1:].astype(int) if ".." in written[0] else VALUES[1:])
    assert np.isnan(seen[0]) == (written[0] in ("-", ".."))


def test_ids_that_look_like_numbers_are_still_ids(tmp_path):
    path = tmp_path / "table.parquet"
    pd.concat([columns(DAYS, VALUES, "101"), columns(DAYS, VALUES, "102")]).rename(
        columns={"Filiale": "nr_x"}
    ).to_parquet(path)
    options = options_of(path)
    read_input(options)
    assert (options.id_column, options.target) == ("nr_x", "Umsatz")


REPEATED = pd.DataFrame({"date": [*DAYS[:2]] * 4, "sales": VALUES[:8]})


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (
            columns([*DAYS[:-1].strftime("%m/%d/%Y"), "Total"], VALUES),
            r"Row 59 of 'Datum' is no date: 'Total'.*correct",
        ),
        (columns([f"am {day}" for day in range(60)], VALUES), r"Row 0 of 'Datum' is no date: 'am 0'.*--date-format"),
        (REPEATED.assign(hour=np.repeat(range(4), 2)), r"'date', 'hour' look like parts of one.*Join them"),
        (REPEATED.assign(store=[*"aabbaabb"], sort=[*"xxxxyyyy"]), r"'store', 'sort' together do: join them"),
        (REPEATED.assign(store="a"), r"2024-01-03 in row 2.*keep one row per timestamp"),
        (
            pd.DataFrame({"date": DAYS, "v": [f"{value} kWh" for value in VALUES]}),
            r"'v' is no number in row 0: '1000.0 kWh'",
        ),
        (pd.DataFrame({"date": DAYS, "v": ["-", "closed", *VALUES[2:]]}), r"'v' is no number in row 1: 'closed'"),
        (
            pd.DataFrame({"date": DAYS, "v": [f"1,{value}" for value in range(200, 260)]}),
            r"'v' has commas or points that may be decimal or between thousands",
        ),
        (
            pd.DataFrame({"store": ["a"], "2024-01-01": [1], "2024-01-02": [2]}),
            r"lies on its side.*2 columns are dates",
        ),
        (pd.DataFrame({"2024-01-01": ["2024-01-02"], "5.5": [6.5]}), r"first row should hold the names.*'2024-01-01'"),
        (pd.DataFrame({"5": [6, 7]}), r"first row should hold the names"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_a_remedy(frame, words, tmp_path):
    with pytest.raises(OptionError, match=words) as caught:
        read(tmp_path, frame.to_csv(index=False))
    assert caught.value.code == "cli.bad_input"


@pytest.mark.parametrize("names", [["1001-01", "1001-02"], ["101", "102"], ["2024-01", "7"]])
@pytest.mark.parametrize("stamps", ["date", "0", ""])
def test_names_of_series_may_look_like_dates_and_numbers(names, stamps, tmp_path):
    frame = pd.DataFrame(np.outer(VALUES, [1, 2]), index=pd.Index(DAYS, name=stamps), columns=names)
    table, options = read(tmp_path, frame.to_csv())
    assert panel_of(table, options).item_ids.tolist() == names


def test_a_clock_is_an_id_to_who_says_so(tmp_path):
    frame = pd.DataFrame({"date": np.repeat(DAYS, 2), "hour": np.tile([0, 12], 60), "sales": np.tile(VALUES, 2)})
    table, options = read(tmp_path, frame.to_csv(index=False), id_column="hour")
    assert panel_of(table, options).num_items == 2


def test_titles_above_a_table_are_named(tmp_path):
    with pytest.raises(OptionError, match=r"delete titles and notes above the names"):
        read(tmp_path, "Sales\nof 2024\n" + columns(DAYS, VALUES).to_csv(index=False))


def test_excel_says_its_separator_in_the_first_line(tmp_path):
    table, _ = read(tmp_path, "sep=;\n" + columns(DAYS, decimal_commas(VALUES)).to_csv(sep=";", index=False))
    np.testing.assert_allclose(table["Umsatz"], VALUES)


def test_letters_of_windows(tmp_path, capsys):
    table, _ = read(tmp_path, columns(DAYS, VALUES, "Köln").to_csv(index=False).encode("cp1252"))
    assert table["Filiale"].tolist()[0] == "Köln"
    assert "Windows-1252" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sales.xlsx", "Save the sheet as CSV"),
        ("sales.csv.gz", "is compressed, which tsar does not read. Hint: Unpack it first"),
        ("sales.json", "pandas.read_json('{folder}/sales.json').to_csv('{folder}/sales.csv', index=False)"),
    ],
)
def test_other_kinds_of_tables_are_refused_with_what_to_do(name, words, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"PK")
    assert main(["forecast", str(tmp_path / name)]) == 2
    assert words.format(folder=tmp_path) in capsys.readouterr().err


def test_the_index_that_pandas_wrote_without_a_name_is_named(tmp_path, capsys):
    series = pd.Series(VALUES, index=DAYS, name="target")
    table, options = read(tmp_path, series.to_csv())
    assert list(table.columns) == ["timestamp", "target"]
    assert "the first column has no name, and is called 'timestamp'" in capsys.readouterr().err
    np.testing.assert_allclose(panel_of(table, options).values, VALUES)
    series.to_csv(tmp_path / "more.csv")
    assert list(read_further(tmp_path / "more.csv", options).columns) == ["timestamp", "target"]
    frame = pd.DataFrame({"Datum": [*DAYS, *DAYS], "target": 1.5}, index=["007"] * 60 + ["008"] * 60)
    table, options = read(tmp_path, frame.to_csv())
    assert list(table.columns) == ["item_id", "Datum", "target"]
    assert panel_of(table, options).item_ids.tolist() == ["007", "008"]
    table, options = read(tmp_path, series.to_csv(), timestamp_column="Unnamed: 0", id_column="")
    assert options.timestamp_column in table.columns  # who names it so gets it so


def test_row_numbers_without_a_name_are_neither_ids_nor_series(tmp_path):
    wide = pd.DataFrame({"timestamp": DAYS, "north": VALUES, "south": 2 * VALUES})
    table, options = read(tmp_path, wide.to_csv())
    assert panel_of(table, options).item_ids.tolist() == ["north", "south"]
    wide.to_csv(tmp_path / "more.csv")
    assert read_further(tmp_path / "more.csv", options)["item_id"].unique().tolist() == ["north", "south"]


@pytest.mark.parametrize(("freq", "how", "zone"), [("h", "UTC", "UTC"), ("D", "days", "None")])
def test_offsets_that_change_with_the_clocks(freq, how, zone, tmp_path, capsys):
    stamps = pd.date_range("2024-03-30", periods=60, freq=freq, tz="Europe/Paris")
    table, options = read(tmp_path, pd.DataFrame({"timestamp": stamps, "target": VALUES}).to_csv(index=False))
    assert f"'timestamp' has several offsets from UTC, and is read as {how}" in capsys.readouterr().err
    panel = panel_of(table, options)
    assert panel.freq == freq
    np.testing.assert_allclose(panel.values, VALUES)
    assert str(table["timestamp"].dt.tz) == zone
    instants = stamps.tz_localize(None) if freq == "D" else stamps.tz_convert("UTC")
    assert (pd.DatetimeIndex(table["timestamp"]) == instants).all()


def test_one_offset_or_some_stamps_without_one_are_left_to_the_frame(tmp_path, capsys):
    stamps = pd.date_range("2024-01-03", periods=60, freq="h", tz="Europe/Paris")
    table, options = read(tmp_path, pd.DataFrame({"timestamp": stamps, "target": VALUES}).to_csv(index=False))
    assert "offsets" not in capsys.readouterr().err
    assert table["timestamp"].iloc[0] == "2024-01-03 00:00:00+01:00"
    mixed = [*stamps[:30].astype(str), *stamps[30:].tz_localize(None).astype(str)]
    table, options = read(tmp_path, pd.DataFrame({"timestamp": mixed, "target": VALUES}).to_csv(index=False))
    with pytest.raises(FrameError, match="different time zones"):
        panel_of(table, options)


def test_the_cell_that_is_no_number_is_named():
    frame = columns(DAYS[:3], ["1.5", "closed", "2.5"])
    with pytest.raises(FrameError, match=r"row 1, timestamp 2024-01-04.*not 'closed'"):
        normalize_frame(frame, id_column="Filiale", timestamp_column="Datum", target="Umsatz")


def test_parquet_columns_are_guessed_too(tmp_path, capsys):
    path = tmp_path / "table.parquet"
    columns(DAYS, VALUES).to_parquet(path)
    assert main(["forecast", str(path), "--prediction-length", "2", "--quantile-levels", "0.5", "--no-symmetrize"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Filiale,Datum,target_name,predictions,0.5\nA,2024-03-03")
    assert "tsar: note: guessed" in err


def test_a_name_with_escape_codes_does_not_reach_the_terminal(tmp_path, capsys):
    path = tmp_path / "table.csv"
    frame = columns(DAYS, VALUES)
    frame.columns = ["\x1b[31mshop", *frame.columns[1:]]
    frame.to_csv(path, index=False)
    main(["forecast", str(path), "--prediction-length", "2", "--output", str(tmp_path / "out.csv"), "--no-symmetrize"])
    err = capsys.readouterr().err
    assert "shop" in err
    assert "\x1b" not in err
