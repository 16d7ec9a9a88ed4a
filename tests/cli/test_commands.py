"""The commands as a user runs them: on real faces, and on what cannot be used."""

import html
import itertools
import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from command_line import refused, rsft

from rsft.face import demo
from rsft.face.pictures.orl import orl_faces

HALVES = ("a|b", "c")
RECIPE = "[recipe]\nsteps = 4\nbatch_size = 8\nviews = 2\n"


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A whole run of `rsft fit`, with its JSON."""
    folder = tmp_path_factory.mktemp("fit")
    (folder / "run.toml").write_text(RECIPE)
    items = [path.relative_to(faces / "evaluation").as_posix() for path in (faces / "evaluation").glob("*/*")]
    people = sorted({item.partition("/")[0] for item in items})
    half = {person: HALVES[number % 2] for number, person in enumerate(people)}
    rows = [f"{item},{half[item.partition('/')[0]]}" for item in items]
    (folder / "halves.csv").write_text("\n".join(["path,half", *rows]))
    grouped = ("--groups", "half", "--attributes", folder / "halves.csv")
    options = ("--config", folder / "run.toml", "--out", folder / "run", "--show-faces", "--json")
    return folder / "run", json.loads(rsft(*fit_arguments(faces), *options, *grouped).stdout)


def fit_arguments(faces: Path) -> list[str | Path]:
    return [
        "fit", "--pool", faces / "pool", "--target", faces / "target", "--eval", faces / "evaluation",
        "--retain", faces / "retention", "--aligned",
    ]  # fmt: skip


def test_fit_leaves_a_whole_run_folder(run: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = run
    present = {path.name for path in folder.iterdir()}
    assert present == {
        ".rsft.json", "accepted.parquet", "config.toml", "errors.json", "history.jsonl", "metrics.json", "model",
        "model_card.md", "pictures.parquet", "plan.json", "report.html", "report.json", "target.json",
        "thumbnails",
    }  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    for system in ("pretrained", "tuned"):
        for part in ("target", "retain"):
            tar = metrics[system][part]["tar_at_fmr"]["0.01"]
            assert 0 <= tar["low"] <= tar["value"] <= tar["high"] <= 1
            assert metrics[system][part]["pairs_genuine"] == 6 * 45
    assert [Path(name).name for name, _ in metrics["quarantined"]] == ["broken.jpg"]
    assert metrics["images_trained"] == 3 * 4 * 8
    accepted = pyarrow.parquet.read_table(folder / "accepted.parquet").to_pydict()
    assert sum(accepted["times_trained"]) == 4 * 8
    assert all(0 <= p <= 1 for p in accepted["acceptance"])


def test_the_report_is_one_file_with_figures_and_the_verdict(run: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = run
    errors = json.loads((folder / "errors.json").read_text())
    page = (folder / "report.html").read_text()
    for part in ("reason", "shipped", "then"):
        assert html.escape(metrics["verdict"][part]) in page
    # differences, two DET curves, groups, shift, ratio, price, path and loss, each for wide and for narrow screens
    assert page.count("<svg") == 2 * 9
    pairs = sum(len(errors["target"][kind]) for kind in ("genuine", "impostor"))
    assert page.count("data:image/jpeg;base64,") == 3 * 16 + 2 * pairs
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    assert rsft("report", folder).stdout.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_text() == page
    assert "the other pairs lose" in metrics["validation"]["text"]
    assert "change, other pairs" in page


def test_a_run_of_another_version_is_not_reported(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run[0], old)
    metrics = json.loads((old / "metrics.json").read_text())
    for point in metrics["validation"]["path"]:
        point["pool"] = point.pop("others")
    (old / "metrics.json").write_text(json.dumps(metrics))
    page = (old / "report.html").read_text()
    assert "another version of rsft" in refused("report", old)
    assert (old / "report.html").read_text() == page


def test_the_same_seed_gives_the_same_numbers(faces: Path, run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, metrics = run
    again = json.loads(
        rsft(*fit_arguments(faces), "--config", folder / "config.toml", "--out", tmp_path / "again", "--json").stdout
    )
    for key in ("pretrained", "tuned", "differences", "validation", "verdict"):
        assert again[key] == metrics[key]


def test_the_tuned_model_is_evaluated_to_the_same_numbers(faces: Path, run: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = run
    grouped = ("--groups", "half", "--attributes", folder.parent / "halves.csv")
    evaluated = rsft("evaluate", "--model", folder, "--eval", faces / "evaluation", "--aligned", "--json", *grouped)
    result = json.loads(evaluated.stdout)
    expected = metrics["tuned"]["target"]
    assert result["tar_at_fmr"]["0.01"]["value"] == pytest.approx(expected["tar_at_fmr"]["0.01"]["value"], abs=0.005)
    assert result["eer"] == pytest.approx(expected["eer"], abs=0.005)
    assert set(metrics["groups"]) == {"pretrained", "tuned"}
    for half, found in result["groups"]["groups"].items():
        of_fit = metrics["groups"]["tuned"]["groups"][half]
        assert (of_fit["people"], of_fit["pairs_genuine"]) == (found["people"], found["pairs_genuine"]) == (3, 3 * 45)
        for rate in ("fmr", "fnmr"):
            assert of_fit[rate]["0.01"]["value"] == pytest.approx(found[rate]["0.01"]["value"], abs=0.01)


def test_the_card_has_the_groups(run: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = run
    card = (folder / "model_card.md").read_text()
    table = card[card.index("## Groups") : card.index("## Retention")]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines() if line.startswith("| ")]
    named = [group.replace("|", "\\|") for group in HALVES]
    assert [row[:2] for row in rows[1:]] == [[group, system] for system in ("pretrained", "tuned") for group in named]
    for group, system, fmr, fnmr, *counts in rows[1:]:
        found = metrics["groups"][system]["groups"][group.replace("\\", "")]
        assert counts == ["3", str(3 * 45), str(3 * 100)]
        for text, rate in ((fmr, found["fmr"]["0.01"]), (fnmr, found["fnmr"]["0.01"])):
            assert text == f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
    assert "No figure per group" not in card


def test_plan_of_pictures_is_that_of_their_embeddings(faces: Path, tmp_path: Path) -> None:
    for part in ("pool", "target"):
        rsft("embed", "--pool", faces / part, "--out", tmp_path / part, "--aligned")
    assert np.load(tmp_path / "pool" / "embeddings.npy").shape == (101, 128)
    from_pictures = rsft("plan", "--pool", faces / "pool", "--target", faces / "target", "--aligned", "--json").stdout
    saved = rsft(
        "plan", "--pool", tmp_path / "pool", "--target", tmp_path / "target", "--out", tmp_path / "plan", "--json"
    )
    told, expected = json.loads(from_pictures), json.loads(saved.stdout)
    pilot, features = told.pop("pilot"), told.pop("features")
    assert (pilot["items"], pilot["looked_at"]) == (101, 102)  # the whole pool, of which one picture is broken
    assert features["kind"] == "activations"
    for plan in (told, expected):
        verdict = plan["verdict"]
        verdict["reason"] = re.sub(r"of 10\d items", "of all items", verdict["reason"])
        plan["diagnostics"] = {
            name: value for name, value in plan["diagnostics"].items() if not name.startswith(("pilot_", "pool_items"))
        }
    models = told.pop("models")
    assert "it needs another: give the photographs" in models["left_out"]["sface"]
    assert "give its pictures" in expected.pop("models")["reason"]
    assert told == expected
    assert {path.name for path in (tmp_path / "plan").iterdir()} == {
        ".rsft.json", "plan.json", "accepted.parquet", "report.html", "report.json",
    }  # fmt: skip
    description = tmp_path / "target" / "embedding.json"
    description.write_text(description.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    assert "different models" in refused("plan", "--pool", tmp_path / "pool", "--target", tmp_path / "target")


def test_an_existing_folder_is_refused_and_left_alone(faces: Path, run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = run
    before = (folder / "metrics.json").read_bytes()
    assert "--overwrite" in refused(*fit_arguments(faces), "--out", folder)
    assert "already complete" in refused(*fit_arguments(faces), "--out", folder, "--resume")
    assert (folder / "metrics.json").read_bytes() == before


def test_bad_input_is_one_line_with_advice(faces: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run", "--overwrite")  # a run that fails leaves what it has embedded
    (tmp_path / "empty").mkdir()
    (tmp_path / "unreadable").mkdir()
    for number in range(10):
        (tmp_path / "unreadable" / f"{number}.jpg").write_bytes(b"no picture")
    (tmp_path / "bad.toml").write_text("[recipe]\nlearning_speed = 1\n")
    swap = lambda name, value: [value if argument == faces / name else argument for argument in fit_arguments(faces)]  # noqa: E731
    assert "holds no picture" in refused(*swap("target", tmp_path / "empty"), *out)
    assert "none of the 10 pictures" in refused(*swap("target", tmp_path / "unreadable"), *out)
    assert "does not exist" in refused(*swap("pool", tmp_path / "absent"), *out)
    assert "learning_speed" in refused(*fit_arguments(faces), *out, "--config", tmp_path / "bad.toml")
    assert "no model 'nonesuch'" in refused(*fit_arguments(faces), *out, "--model", "nonesuch")
    overlap = swap("evaluation", faces / "pool")
    assert "10 identities of the pool are also evaluated" in refused(*overlap, *out)
    assert "nothing is left" in refused(*overlap, *out, "--drop-overlap")
    shutil.copytree(next((faces / "pool").iterdir()), tmp_path / "one" / "person")
    assert "needs 4 identities or more, got 1" in refused(*swap("pool", tmp_path / "one"), *out)
    assert "got 1" in refused("plan", "--pool", tmp_path / "one", "--target", faces / "target", "--aligned")
    points = tmp_path / "points.csv"
    points.write_text("path," + ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy") + "\n")
    assert "name the attribute" in refused(*fit_arguments(faces), *out, "--attributes", points)
    assert "has no attribute 'age'" in refused(*fit_arguments(faces), *out, "--groups", "age")
    assert "aligned chips have none" in refused(*fit_arguments(faces), *out, "--landmarks", points)
    without = [argument for argument in fit_arguments(faces) if argument != "--aligned"]
    assert "landmarks for none of the" in refused(*without, *out, "--landmarks", points)
    planned = ("plan", "--pool", faces / "pool", "--landmarks", points)
    assert "landmarks for none of the" in refused(*planned, "--target", faces / "target")
    assert "with --shares none is" in refused(*planned, "--shares", tmp_path / "bad.toml")
    assert not (tmp_path / "run").exists()
    assert "holds none of metrics.json" in refused("report", tmp_path)


def test_a_disk_that_refuses_is_said(faces: Path) -> None:
    assert "Choose another --out" in refused(*fit_arguments(faces), "--out", "/proc/rsft-run", code=1)


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "plan",
        "fit",
        "evaluate",
        "embed",
        "report",
        "convert",
        "data check",
        "threshold",
        "forget",
        "rerun",
        "monitor",
        "scored",
    ],
)
def test_every_command_has_help_and_is_in_the_docs(command: str) -> None:
    assert "--json" in rsft(*command.split(), "--help").stdout
    assert f"rsft {command}" in (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


def test_the_quick_demo_ends_in_a_table_and_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On some of the people, with one picture of each photograph and few steps."""
    photographs = orl_faces()
    people = sorted(set(photographs.identities))[:12]
    some = photographs.subset([row for row, person in enumerate(photographs.identities) if person in people])
    monkeypatch.setattr(demo, "orl_faces", lambda: some)
    for name, value in {"QUICK_STEPS": 5, "QUICK_COPIES": 1, "TARGET_DRAWS": 1, "TARGET_PEOPLE": 3}.items():
        monkeypatch.setattr(demo, name, value)
    out = tmp_path / "demo"
    printed = rsft("demo", "--quick", "--out", out).stdout
    metrics = json.loads((out / "metrics.json").read_text())
    assert "uniform" in printed
    assert "Report:" in printed
    assert metrics["folds"] == 2
    assert metrics["uniform"]["target"]["pairs_genuine"] == 2 * 3 * 45
    # the same number of samples for both, in two folds of people and three trainings each
    assert metrics["images_trained"] == 2 * 2 * 3 * 5 * 32
    gain = metrics["differences"]["tuned - pretrained"]["target"][metrics["headline_fmr"]]
    judged = "better" if gain["low"] > 0 else "worse" if gain["high"] < 0 else "none"
    shipped = [gate["share"] for gate in metrics["validation"]["gates"]]
    assert len(shipped) == 2
    assert metrics["verdict"]["outcome"] == (judged if any(shipped) else "kept")
    assert metrics["validation"]["share"] == sum(shipped) / 2
    assert (out / "report.html").stat().st_size > 100_000


def test_plan_compares_features_and_takes_its_settings_from_the_line(faces: Path, tmp_path: Path) -> None:
    for name in ("pool", "target"):
        rsft("embed", "--pool", faces / name, "--aligned", "--out", tmp_path / name)
    inputs: list[str | Path] = ["--pool", tmp_path / "pool", "--target", tmp_path / "target"]
    plans = json.loads(rsft("plan", *inputs, "--compare", "--envelope", "max_tv=0.05", "--json").stdout)
    assert {ranked["features"] for ranked in plans["ranking"]} == {"activations", "covariates", "embedding"}
    assert plans["envelope"]["rule"] == "max_tv=0.05"
    assert plans["arrival"]["covariates"][0]["name"] in {"brightness", "noise", "contrast", "sharpness"}
    text = rsft("plan", *inputs, "--floor", "2", "--out", tmp_path / "plan").stdout
    assert "What shifts" in text
    assert "Other envelopes" in text
    rows = pyarrow.parquet.read_table(tmp_path / "plan" / "accepted.parquet").to_pydict()
    accepted = [person for person, kept in zip(rows["identity"], rows["accepted"], strict=True) if kept]
    assert all(accepted.count(person) >= 2 for person in set(accepted))
    assert "--accept-by: 'person' is not one of item, identity" in refused("plan", *inputs, "--accept-by", "person")
    assert "--features: 'magic' is not one of auto, covariates" in refused("plan", *inputs, "--features", "magic")
    assert "--method: 'magic' is not one of auto, classifier" in refused("plan", *inputs, "--method", "magic")


def test_plan_from_shares_of_attributes(faces: Path, tmp_path: Path) -> None:
    items = sorted(path.relative_to(faces / "pool") for path in (faces / "pool").rglob("*.*"))
    table = tmp_path / "attributes.csv"
    table.write_text("path,half\n" + "".join(f"{item.as_posix()},{number % 2}\n" for number, item in enumerate(items)))
    shares = tmp_path / "shares.toml"
    shares.write_text("[half]\n0 = 0.8\n1 = 0.2\n")
    arguments: list[str | Path] = [
        "plan",
        "--pool",
        faces / "pool",
        "--attributes",
        table,
        "--retain-fraction",
        "0",
        "--envelope",
        "max",
    ]
    result = json.loads(rsft(*arguments, "--shares", shares, "--out", tmp_path / "plan", "--json").stdout)
    assert result["m"] == pytest.approx(1.6, rel=0.02)
    rows = pyarrow.parquet.read_table(tmp_path / "plan" / "accepted.parquet").to_pydict()
    by_path = dict(zip(rows["path"], rows["acceptance"], strict=True))
    assert by_path[items[0].as_posix()] == pytest.approx(1)
    assert by_path[items[1].as_posix()] == pytest.approx(0.25)
    assert "--attributes and --shares together" in refused(*arguments)
    shares.write_text("[colour]\nred = 1.0\n")
    assert "has no column 'colour'" in refused(*arguments, "--shares", shares)
    shares.write_text("[half]\n0 = 0.8\n2 = 0.2\n")
    assert "no pool item has" in refused(*arguments, "--shares", shares)
    shares.write_text("half = 3\n")
    assert "needs a table [half]" in refused(*arguments, "--shares", shares)
    table.write_text("path,half\n")
    assert "needs a header" in refused(*arguments, "--shares", shares)


def test_a_converted_pool_embeds_to_the_same_and_is_checked(faces: Path, tmp_path: Path) -> None:
    source, records, shards = faces / "evaluation", tmp_path / "x.rec", tmp_path / "x-{0..2}.tar"

    made = json.loads(rsft("convert", source, records, "--json").stdout)
    assert made == {"pictures": 60, "identities": 6, "lost": []}
    assert f"60 pictures of 6 identities: {shards}" in rsft("convert", source, shards).stdout
    for name, pool in {"folder": source, "records": records}.items():
        rsft("embed", "--pool", pool, "--out", tmp_path / name, "--aligned")
    embeddings = [np.load(tmp_path / name / "embeddings.npy") for name in ("folder", "records")]
    np.testing.assert_array_equal(*embeddings)
    text = rsft("data", "check", records, "--against", source, "--embeddings", tmp_path / "records").stdout
    assert "60 pictures of 6 identities" in text
    assert "doubtful labels" in text
    found = json.loads(rsft("data", "check", shards, "--against", source, "--json").stdout)
    assert len(found["against"]["identities"]) == 6
    assert len(found["against"]["exact_duplicates"]) == 60
    assert "exists" in refused("convert", source, records)
    records.write_bytes(records.read_bytes()[:-100])
    assert "is truncated" in refused("data", "check", records)


def test_a_bin_is_evaluated_and_a_hostile_one_refused(faces: Path, tmp_path: Path) -> None:
    people = [sorted(folder.iterdir()) for folder in sorted((faces / "evaluation").iterdir())]
    pairs = [(a[k], a[k + 1], True) for a in people for k in range(0, 8, 2)]
    pairs += [(a[k], b[k], False) for a, b in itertools.pairwise(people) for k in range(5)]
    pictures = [path.read_bytes() for a, b, _ in pairs for path in (a, b)]
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps((pictures, [same for _, _, same in pairs])))
    result = json.loads(rsft("evaluate", "--eval", path, "--aligned", "--json").stdout)
    assert (result["pairs_genuine"], result["pairs_impostor"]) == (24, 25)
    assert result["accuracy"]["value"] > 0.7
    path.write_bytes(b"cos\nmkdir\n(V" + str(tmp_path / "ran").encode() + b"\ntR.")
    assert "names 'os.mkdir', which is refused" in refused("evaluate", "--eval", path)
    assert not (tmp_path / "ran").exists()


def test_plan_from_shares_of_the_attributes_that_a_manifest_has(faces: Path, tmp_path: Path) -> None:
    items = sorted(path.relative_to(faces).as_posix() for path in (faces / "pool").rglob("*.*"))
    rows = "".join(f"{item},{item.split('/')[1]},{number % 2}\n" for number, item in enumerate(items))
    (faces / "list.csv").write_text("path,identity,half\n" + rows)
    (tmp_path / "shares.toml").write_text("[half]\n0 = 0.8\n1 = 0.2\n")
    arguments: list[str | Path] = ["plan", "--pool", faces / "list.csv", "--envelope", "max", "--retain-fraction", "0"]
    result = json.loads(rsft(*arguments, "--shares", tmp_path / "shares.toml", "--json").stdout)
    assert result["m"] == pytest.approx(1.6, rel=0.02)
    folder: list[str | Path] = ["plan", "--pool", faces / "pool"]
    assert "has no column 'half'" in refused(*folder, "--shares", tmp_path / "shares.toml")
    assert "--shares alone" in refused(*arguments)


def test_a_withdrawn_set_is_warned_of_in_one_line(tmp_path: Path) -> None:
    from PIL import Image

    for number, person in enumerate(("n000001", "n000002", "n000003")):
        (tmp_path / person).mkdir()
        Image.fromarray(np.full((9, 9, 3), 70 * number, np.uint8)).save(tmp_path / person / "1.png")
    result = rsft("data", "check", tmp_path)
    (line,) = [line for line in result.stderr.splitlines() if "warning" in line]
    assert line.startswith("rsft: warning: ")
    assert "VGGFace2, by the names of its identities" in line
    assert "authors have withdrawn" in result.stdout
