"""Recipes: parsed strictly, overridden by key, written out in full; every recipe of the repository parses."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from tsar.errors import RecipeError
from tsar.events.recipe import EventRecipe, make_event_recipe
from tsar.hub import load_model
from tsar.model.decoder import Decoder
from tsar.training.config import Recipe, Shape, changed_settings, load_recipe, make_recipe, read_recipe, recipe_to_yaml
from tsar.training.distill import incompatibility

ALL = sorted((Path(__file__).parents[2] / "pretrain" / "recipes").glob("*.yaml"))
RECIPES = [path for path in ALL if read_recipe(path).get("task", "series") == "series"]
EVENTS = [path for path in ALL if read_recipe(path).get("task") == "events"]
TEXT = """
name: demo
seed: 3
model: {d_model: 32, patch_length: 8, output_length: 16}
data: {block_size: 4, families: {counts: 1.0}}
shapes:
  - {context_length: 64, rows: 8}
  - {context_length: 128, rows: 4, weight: 0.5, cut: 0.2}
optim: {lr: 1.0e-3, betas: [0.9, 0.99]}
train: {steps: 10}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(TEXT)
    return path


def code_and_text(call, *arguments) -> tuple[str, str]:
    with pytest.raises(RecipeError) as caught:
        call(*arguments)
    return caught.value.code, str(caught.value)


def test_values_arrive(path):
    recipe = load_recipe(path)
    assert (recipe.name, recipe.seed, recipe.corpus) == ("demo", 3, None)
    assert (recipe.model.d_model, recipe.model.num_layers) == (32, 6)
    assert recipe.shapes[1] == Shape(context_length=128, rows=4, weight=0.5, cut=0.2)
    assert recipe.optim.betas == (0.9, 0.99)
    assert recipe.data.families == {"counts": 1.0}
    assert recipe.train.steps == 10


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_parses(path):
    recipe = load_recipe(path)
    assert recipe.train.steps or recipe.train.minutes
    assert max(shape.context_length for shape in recipe.shapes) >= recipe.model.context_length // 2
    assert recipe.corrupt.max_span <= recipe.model.max_span


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_recipe_of_events_parses_and_is_written_out_in_full(path):
    recipe = make_event_recipe(read_recipe(path))
    assert recipe.train.steps or recipe.train.minutes
    values = yaml.safe_load(recipe_to_yaml(recipe))
    assert make_event_recipe(values) == recipe
    assert set(values) == {field.name for field in dataclasses.fields(EventRecipe)}
    code, text = code_and_text(load_recipe, path)
    assert (code, "events" in text) == ("recipe.bad_value", True)


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("data.series=3", "recipe.unknown_key"),
        ("model.num_types=0", "recipe.bad_value"),
        ("data.processes={rain: 1.0}", "recipe.bad_value"),
        ("train.energy_windows=1", "recipe.bad_value"),
        ("name=a/b", "recipe.bad_value"),
    ],
)
def test_bad_recipes_of_events_are_refused(override, code):
    assert code_and_text(make_event_recipe, read_recipe(EVENTS[0], [override]))[0] == code


def test_every_recipe_has_a_task_that_is_known():
    assert len(RECIPES) + len(EVENTS) == len(ALL)
    assert "hypro" in {path.stem for path in EVENTS}


def test_there_are_recipes():
    assert "tsar-tiny" in {path.stem for path in RECIPES}


def test_yaml_round_trip_writes_every_default(path):
    for recipe in [load_recipe(path), *(load_recipe(one) for one in RECIPES)]:
        text = recipe_to_yaml(recipe)
        values = yaml.safe_load(text)
        assert make_recipe(values) == recipe
        assert set(values) == {field.name for field in dataclasses.fields(Recipe)}
        assert recipe_to_yaml(make_recipe(values)) == text


def test_overrides_win_and_are_parsed_as_yaml(path):
    recipe = load_recipe(
        path,
        [
            "train.steps=77",
            "optim.lr=3e-4",
            "corpus=null",
            "data.augment_corpus.mixup=0.5",
            "shapes=[{context_length: 32, rows: 4}]",
            "model.scaling=window",
            "train.compile=true",
            "name=a=b",
        ],
    )
    assert recipe.train.steps == 77
    assert recipe.optim.lr == 3e-4
    assert recipe.data.augment_corpus.mixup == 0.5
    assert recipe.data.augment_corpus.spikes > 0
    assert recipe.shapes == (Shape(context_length=32, rows=4),)
    assert recipe.model.scaling == "window"
    assert recipe.train.compile is True
    assert recipe.name == "a=b"


@pytest.mark.parametrize(
    "override", ["train.stepz=3", "trian.steps=3", "model.d_modle=3", "data.augment_corpus.mixop=1"]
)
def test_unknown_overrides_are_refused_by_name(path, override):
    code, text = code_and_text(load_recipe, path, [override])
    assert code == "recipe.unknown_key"
    assert override.split("=")[0].split(".")[-1] in text or override.split(".")[0] in text


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("train.steps", "recipe.bad_value"),
        ("train.steps=[", "recipe.bad_value"),
        ("seed.more=3", "recipe.unknown_key"),
        ("train.steps.more=3", "recipe.unknown_key"),
        ("=3", "recipe.unknown_key"),
    ],
)
def test_overrides_that_are_none(path, override, code):
    assert code_and_text(load_recipe, path, [override])[0] == code


@pytest.mark.parametrize(
    ("section", "key"),
    [("", "modle"), ("model", "width"), ("train", "epochs"), ("data", "share"), ("optim", "beta"), ("corrupt", "mask")],
)
def test_unknown_keys_are_refused_by_name(section, key):
    values = yaml.safe_load(TEXT)
    (values.setdefault(section, {}) if section else values)[key] = 1
    code, text = code_and_text(make_recipe, values)
    assert code == "recipe.unknown_key"
    assert f"{section}.{key}".lstrip(".") in text


def test_unknown_key_in_a_shape():
    values = yaml.safe_load(TEXT)
    values["shapes"][1]["length"] = 3
    code, text = code_and_text(make_recipe, values)
    assert (code, "shapes.length" in text) == ("recipe.unknown_key", True)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.steps=many", "train.steps"),
        ("train.steps=0", "train.steps"),
        ("train.minutes=-1", "train.minutes"),
        ("train.minutes=0", "train.minutes"),
        ("train.precision=fp8", "precision"),
        ("train.log_every=0", "log_every"),
        ("train.save_every=0", "save_every"),
        ("train.validate_every=0", "validate_every"),
        ("train.keep=0", "keep"),
        ("optim.kind=sgd", "optim.kind"),
        ("optim.lr=fast", "optim.lr"),
        ("optim.betas=[0.9]", "optim.betas"),
        ("model.d_model=0", "d_model"),
        ("model.num_heads=3", "num_heads"),
        ("model.scaling=max", "scaling"),
        ("model=3", "model"),
        ("data.block_size=0", "block_size"),
        ("data.fresh=0", "fresh"),
        ("data.fresh=65", "fresh"),
        ("data.pool=0", "pool"),
        ("data.families={counts: often}", "families"),
        ("shapes=[]", "shapes"),
        ("shapes=3", "shapes"),
        ("shapes=[{context_length: 30, rows: 8}]", "context_length"),
        ("shapes=[{context_length: 64, rows: 0}]", "rows"),
        ("name=a/b", "name"),
        ("name=''", "name"),
        ("name=..", "name"),
        ("seed=x", "seed"),
    ],
)
def test_bad_values_are_refused_with_their_place(path, override, words):
    code, text = code_and_text(load_recipe, path, [override])
    assert code == "recipe.bad_value"
    assert words in text


def test_name_is_needed():
    code, text = code_and_text(make_recipe, {"seed": 1})
    assert (code, "name" in text) == ("recipe.bad_value", True)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "recipe.yaml"
    assert code_and_text(load_recipe, path)[0] == "recipe.missing_file"
    assert code_and_text(load_recipe, tmp_path)[0] == "recipe.missing_file"
    for content in (b"", b"[1, 2]", b"name: [", b"\xff\xfe", b"- name: x", b"name: !!python/object:os.system x"):
        path.write_bytes(content)
        assert code_and_text(load_recipe, path)[0] == "recipe.bad_value"


def test_the_share_of_a_teacher_needs_one():
    code, text = code_and_text(make_recipe, {"name": "demo", "teacher_share": 0.5})
    assert code == "recipe.bad_value"
    assert "without a teacher" in text
    assert make_recipe({"name": "demo", "teacher": "zoo/tsar-small"}).teacher_share == 0.5
    assert make_recipe({"name": "demo", "teacher": "zoo/tsar-small", "teacher_share": 0.0}).teacher_share == 0
    assert make_recipe({"name": "demo"}).teacher_share is None


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"teacher": "x", "teacher_share": True}, "teacher_share"),
        ({"train": {"steps": True}}, "train.steps"),
        ({"shapes": [{"rows": True}]}, "shapes.rows"),
        ({"model": True}, "model"),
    ],
)
def test_true_is_no_number(values, place):
    code, text = code_and_text(make_recipe, {"name": "demo", **values})
    assert code == "recipe.bad_value"
    assert f"{place} cannot be True" in text


def test_the_teacher_of_the_distilled_recipe_fits():
    recipe = load_recipe(next(path for path in RECIPES if path.stem == "tsar-tiny-distilled"))
    assert incompatibility(Decoder(recipe.model), load_model(Path(recipe.teacher).name)) is None
    assert Decoder(recipe.model).state_dict().keys() == load_model(Path(recipe.init_from).name).state_dict().keys()


def test_changed_settings_are_named(tmp_path):
    stored = tmp_path / "recipe.yaml"
    stored.write_text(recipe_to_yaml(load_recipe(RECIPES[0])))
    assert changed_settings(stored, load_recipe(RECIPES[0])) == []
    changed = load_recipe(RECIPES[0], ["optim.lr=0.5", "train.steps=99"])
    assert changed_settings(stored, changed) == ["optim.lr", "train.steps"]
    assert changed_settings(tmp_path / "none.yaml", changed) == []
