"""A study trains what is missing, once, and reads it ever after."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atviz import checkpoints, models, pipeline, train
from atviz.data import Images
from atviz.notebook import Notebook, means, open_study
from atviz.streamed import Streamed
from atviz.study import Settings, Study, load_checkpoint

SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100}


@pytest.fixture(scope="module")
def study():
    found = Study(Settings(**SMALL))
    assert list(found.models) == ["normal", "underfit", "pgd-inf-0.1"]
    return found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"models": ("normal", "pgd-inf")}, "unknown recipe 'pgd-inf'"),
        ({"models": ("normal", "underfit")}, "adversarially trained one"),
        ({"models": ("pgd-inf-8",)}, "there must be normal"),
        ({"models": ("normal", "pgd-inf-8", "normal")}, "not all different"),
        ({"arch": "resnet20"}, "did you mean 'resnet"),
        ({"seed": -1}, "seed is -1"),
        ({"epochs": -2}, "epochs is -2"),
        ({"preset": "text"}, "unknown preset 'text'"),
        ({"weights": "nowhere.pth"}, "no weights at nowhere.pth"),
        ({"weights": "imagenet"}, "no ImageNet weights for 'small'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Settings(**settings)


def test_a_second_study_trains_nothing_and_measures_nothing(study, monkeypatch):
    first = study.outcomes({"saturate": [4.0], "patch_shuffle": [2]})
    study.robustness()
    monkeypatch.setattr(train, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = Study(Settings(**SMALL))
    second = again.outcomes({"saturate": [4.0], "patch_shuffle": [2]})
    again.robustness()
    assert again.store.computed == 0
    assert again.store.read > 0
    assert all((first.distorted[key] == second.distorted[key]).all() for key in first.distorted)


def test_what_training_depends_on_names_its_checkpoint(study):
    here = study.folder("pgd-inf-0.1")
    for change in ({"seed": 1}, {"epochs": 3}, {"train_limit": 299}, {"arch": "small-w8"}, {"train_steps": 2}):
        assert Study(Settings(**SMALL | change)).folder("pgd-inf-0.1") != here
    assert Study(Settings(**SMALL | {"models": ("normal", "pgd-inf-0.1")})).folder("pgd-inf-0.1") == here


def test_the_profile_sets_epochs_and_steps_of_the_papers_recipes():
    study = Study(Settings(**SMALL, models=("normal", "spatial", "pgd-inf-8")))
    assert study.adversarial == "spatial"
    for name in ("spatial", "pgd-inf-8"):
        recipe = study.recipe(name)
        assert (recipe.steps, recipe.epochs, recipe.schedule, recipe.mix) == (1, 1, "one-cycle", False)
    assert study.recipe("spatial").step_size == 0.1


def test_the_preset_code_keeps_its_own_numbers_unless_some_are_given():
    settings = SMALL | {"models": ("normal", "spatial", "pgd-inf-8"), "preset": "code"}
    study, short = Study(Settings(**settings)), Study(Settings(**settings, epochs=7, train_steps=4))
    facts = lambda study, name: (lambda r: (r.epochs, r.milestones, r.steps, r.batch_size, r.mix))(study.recipe(name))
    assert facts(study, "normal") == (11, (5, 8), 0, 64, False)
    assert facts(study, "pgd-inf-8") == (21, (10, 16), 20, 64, True)
    assert facts(study, "spatial") == (20, (8, 14), 50, 64, True)
    assert facts(short, "normal") == (7, (3, 5), 0, 64, False)
    assert facts(short, "pgd-inf-8") == (7, (3, 5), 4, 64, True)
    assert facts(short, "spatial") == (7, (3, 5), 4, 64, True)
    # a rate that falls before the first epoch would be another rate
    assert Study(Settings(**settings, epochs=1)).recipe("normal").milestones == (1, 1)
    assert study.folder("normal") != Study(Settings(**settings | {"preset": "paper"})).folder("normal")


def test_the_preset_itazuri_takes_its_models_and_at_full_scale_its_epochs():
    quick = Study(Settings(dataset="shapetex", train_limit=300, preset="itazuri"))
    assert quick.settings.models == ("normal", "fgsm-0.005") and quick.adversarial == "fgsm-0.005"
    facts = lambda study: (lambda r: (r.epochs, r.milestones, r.lr, r.weight_decay, r.augment))(study.recipe("fgsm-0.005"))
    assert facts(quick) == (8, (3, 5), 0.1, 1e-4, None)
    full = dict(dataset="shapetex", profile="full", train_limit=300, preset="itazuri", models=("normal", "fgsm-0.005"))
    assert facts(Study(Settings(**full)))[:2] == (90, (30, 60))
    assert facts(Study(Settings(**full, epochs=9)))[:2] == (9, (3, 6))


@pytest.mark.parametrize(
    ("dataset", "size", "preset", "augment"),
    [
        ("imagenet", 224, "paper", "resized-crop-flip"),
        ("imagenet", 224, "itazuri", "resized-crop-flip"),
        ("food101", 224, "itazuri", "resized-crop-flip"),
        ("food101", 224, "paper", "flip"),
        ("tiny-imagenet", 64, "itazuri", "flip"),
        ("cifar10", 32, "itazuri", "crop-flip"),
        ("cifar10", 224, "itazuri", "resized-crop-flip"),
        ("svhn", 224, "itazuri", None),
    ],
)
def test_large_images_are_cropped_at_random_areas_where_the_paper_does(dataset, size, preset, augment):
    study = Study(Settings(dataset=dataset, preset=preset))
    x = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    study.__dict__["train_images"] = Images(x, torch.tensor([0, 1]), ["a", "b"])
    assert study.recipe("normal").augment == augment


def test_a_streamed_study_trains_and_reads_again(tmp_path):
    for split, n in (("train", 40), ("val", 20)):
        for label, name in enumerate("ab"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                Image.fromarray(np.full((24, 20, 3), 200 * label + i % 40, dtype=np.uint8)).save(tmp_path / split / name / f"{i}.png")
    settings = Settings(f"imagenet:{tmp_path}", "smoke", arch="small-w4", size=66, train_limit=64, test_limit=20, preset="itazuri")
    study = Notebook(settings)
    assert isinstance(study.train_images, Streamed) and study.recipe("normal").augment == "resized-crop-flip"
    first = study.robustness()
    x, y, titles = study.gallery(4)
    assert x.shape == (4, 3, 66, 66) and titles == [study.test_images.classes[i] for i in y]
    card = study.cards["fgsm-0.005"]
    assert card["model"]["image_size"] == 66 and card["data"]["train_digest"] == study.train_images.digest
    again = Notebook(settings)
    assert all((again.robustness()[name]["survived"] == row["survived"]).all() for name, row in first.items())
    assert again.store.computed == 0


def test_a_spatial_network_is_trained_and_described():
    study = Study(Settings(**SMALL, models=("normal", "spatial")))
    study.models  # noqa: B018
    card = study.cards["spatial"]
    assert (card["recipe"]["attack"], card["recipe"]["tv_weight"], card["recipe"]["steps"]) == ("spatial", 0.05, 1)
    assert 0 <= card["metrics"]["probe"] <= card["metrics"]["clean"] + 0.011
    assert "spatial, 1 steps" in Notebook(study.settings).card_table()["trained on"].tolist()


def test_underfit_is_stopped_at_the_adversarial_networks_accuracy(study):
    assert study.recipe("underfit").stop_at == study.cards["pgd-inf-0.1"]["metrics"]["clean"]
    other = Study(Settings(**SMALL | {"models": ("underfit", "normal", "fgsm-0.05", "pgd-inf-0.1")}))
    assert other.adversarial == "fgsm-0.05"


def test_a_card_tells_how_to_make_the_network_again(study):
    card = checkpoints.read_card(study.folder("pgd-inf-0.1"))
    assert card["recipe"]["eps"] == 0.1
    assert card["recipe"]["steps"] == 1
    assert card["data"]["train"] == 300
    assert card["data"]["train_digest"] == study.train_images.digest
    assert card["versions"]["torch"] == torch.__version__
    assert "/" not in card["data"]["name"]  # no path of this machine
    assert not list(study.folder("pgd-inf-0.1").parent.glob("*.training"))


def test_a_network_answers_as_it_did_when_its_card_was_written(study):
    for name in study.models:
        assert study.outcomes({}).clean[name].mean() == pytest.approx(study.cards[name]["metrics"]["clean"], abs=0.011)


def test_the_untrained_network_is_of_the_same_architecture_drawn_by_the_seed_and_not_the_start_of_training(study):
    shape = study.cards["normal"]["model"]
    drawn, start = (study._drawn(shape, seed) for seed in (study.settings.seed + 1, study.settings.seed))
    assert models.fingerprint(study.untrained) == models.fingerprint(drawn) != models.fingerprint(start)
    assert not study.untrained.training


def test_findings_are_paired_differences_of_the_named_networks(study, tmp_path):
    notebook = Notebook(study.settings, name="demo", out=str(tmp_path))
    hit = {"normal": np.array([1, 1, 0, 0] * 25, bool), "underfit": np.ones(100, bool), "pgd-inf-0.1": np.array([1, 1, 1, 0] * 25, bool)}
    notebook.compare_shares("robust", hit)
    said = notebook.conclude().data
    row = json.loads((tmp_path / "findings" / "demo.json").read_text())[0]
    assert (row["normal"], row["underfit"], row["adversarial"], row["verdict"]) == (0.5, 1.0, 0.75, "agrees")
    assert row["difference"] == 0.25
    assert "50.0 % → 75.0 % (+25.0" in said


def test_tables_and_figures_go_to_the_folder_or_nowhere(study, tmp_path):
    from matplotlib.figure import Figure

    for out in (str(tmp_path), ""):
        notebook = Notebook(study.settings, name="demo", out=out)
        assert notebook.table([{"a": 1}], "numbers").a.tolist() == [1]
        assert notebook.figure(Figure(), "empty", "A caption with ε.").data.startswith(b"\x89PNG")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")) == [
        "figures/demo_1-empty.png",
        "figures/demo_1-empty.svg",
        "tables/demo_numbers.csv",
    ]
    with Image.open(tmp_path / "figures" / "demo_1-empty.png") as image:
        assert image.info["Description"] == "A caption with ε."


def test_a_notebooks_variables_that_are_settings_make_its_study():
    notebook = open_study("demo", {"profile": "smoke", "models": [], "seed": 3, "out": "somewhere", "levels": [1], "__name__": "__main__"})
    assert (notebook.settings, notebook.name, notebook.out) == (Settings(profile="smoke", seed=3), "demo", "somewhere")
    with pytest.raises(ValueError, match="did you mean 'quick'"):
        open_study("demo", {"profile": "quik"})


def test_means_are_of_each_column_with_intervals():
    values = {"a": np.array([[0.0, 1], [1, 1], [2, 4]]), "b": np.zeros((2, 2))}
    rows = means(values, ["first", "second"], "band")
    assert rows.model.tolist() == ["a", "a", "b", "b"]
    assert rows.band.tolist() == ["first", "second"] * 2
    assert rows.value.tolist() == [1, 2, 0, 0]
    assert rows.ci_high[0] == pytest.approx(1 + 1.959964 / np.sqrt(3))
    assert rows.n.tolist() == [3, 3, 2, 2]


# --- weights to start from


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Tiny ImageNet's layout: two classes, bright above and bright below, 16 pixels, 20 + 6 images of each."""
    root, draw, rows = tmp_path_factory.mktemp("sets") / "tiny-imagenet-200", np.random.default_rng(0), []
    for c, wnid in enumerate(["n01", "n02"]):
        for i in range(26):
            pixels = draw.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[8 * c : 8 * c + 8] += 120
            name = f"{wnid}_{i}.JPEG"
            path = root / "train" / wnid / "images" / name if i < 20 else root / "val" / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            rows += [f"{name}\t{wnid}\t0\t0\t15\t15\n"] if i >= 20 else []
    (root / "wnids.txt").write_text("n01\nn02\n")
    (root / "words.txt").write_text("n01\tup\nn02\tdown\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    return root


@pytest.fixture
def weights(tmp_path):
    """A bare network's weights with the large stem and a head for seven classes."""
    torch.manual_seed(5)
    path = tmp_path / "start.safetensors"
    save_file(models.build("small-w4", num_classes=7, small_stem=False).network.state_dict(), path)
    return path


def test_names_of_checkpoints_from_scratch_are_what_they_were():
    assert Study(Settings()).folder("normal").name == "fashion-small-normal-s0-89aecb20e6"
    assert Study(Settings(weights="none")).folder("normal").name == "fashion-small-normal-s0-89aecb20e6"


@pytest.mark.parametrize(
    ("settings", "weights", "side"),
    [
        ({"dataset": "tiny-imagenet", "profile": "full"}, "imagenet", 224),
        ({"dataset": "tiny-imagenet:there", "profile": "full", "size": 96}, "imagenet", 96),
        ({"dataset": "caltech256", "profile": "full"}, "imagenet", 224),
        ({"dataset": "caltech256", "profile": "full", "arch": "resnet18-w16"}, "none", None),
        ({"dataset": "caltech256", "profile": "full", "weights": "none"}, "none", None),
        ({"dataset": "tiny-imagenet", "profile": "quick"}, "none", None),
        ({"dataset": "tiny-imagenet", "profile": "quick", "arch": "resnet18", "weights": "imagenet"}, "imagenet", 224),
        ({"dataset": "cifar10", "profile": "full"}, "none", None),
    ],
)
def test_full_scale_starts_from_imagenet_where_the_paper_does(settings, weights, side):
    found = Settings(**settings)
    assert (found.weights, found.side) == (weights, side)


def test_training_starts_from_weights_and_its_card_says_so(tiny, weights, monkeypatch):
    settings = Settings(dataset=f"tiny-imagenet:{tiny}", profile="smoke", size=32, epochs=2, weights=str(weights))
    study, begun = Study(settings), {}
    fit = train.fit

    def watched(model, recipe, *args, **kwargs):
        begun.update({name: tensor.clone() for name, tensor in model.network.state_dict().items()}, recipe=recipe)
        return fit(model, recipe, *args, **kwargs)

    monkeypatch.setattr(train, "fit", watched)
    model = study.obtain("normal")
    given = models.read_state(weights)
    assert all(torch.equal(begun[name], tensor) for name, tensor in given.items() if not name.startswith("fc."))
    assert begun["fc.weight"].shape[0] == 2  # a new head
    assert (begun["recipe"].lr, begun["recipe"].augment, begun["recipe"].epochs) == (0.01, "flip", 2)

    folder = study.folder("normal")
    card = checkpoints.read_card(folder)
    assert card["started_from"] == {"file": "start.safetensors", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert card["model"]["standardize"] and card["model"]["image_size"] == 32 and not card["model"]["small_stem"]
    assert str(tiny.parent) not in json.dumps(card) and str(weights.parent) not in json.dumps(card)
    assert folder.name.startswith("tiny-imagenet-small-w4-normal-")
    again, _ = load_checkpoint(folder)
    x, _ = next(study.test_images.batches(4))
    assert x.shape == (4, 3, 32, 32) and torch.equal(again(x), model(x))


def test_fine_tuning_takes_the_profiles_epochs_below_full_scale(tiny, weights):
    epochs = lambda **changes: (
        Study(Settings(dataset=f"tiny-imagenet:{tiny}", arch="small-w4", weights=str(weights), size=16, **changes)).recipe("normal").epochs
    )
    assert (epochs(profile="smoke"), epochs(profile="quick"), epochs(profile="full"), epochs(profile="full", epochs=3)) == (1, 8, 11, 3)


def test_the_content_of_the_weights_names_the_checkpoint(tiny, weights, tmp_path):
    name = lambda path: Study(Settings(dataset=f"tiny-imagenet:{tiny}", profile="smoke", size=16, weights=str(path))).folder("normal").name
    first = name(weights)
    assert name(weights.rename(tmp_path / "renamed.safetensors")) == first
    save_file({n: t + 1 for n, t in models.read_state(tmp_path / "renamed.safetensors").items()}, weights)
    assert len({name(weights), name("none"), first}) == 3


@pytest.mark.filterwarnings("ignore::atviz.train.CatastrophicOverfitting")  # an epoch of 40 images decides nothing
def test_images_that_are_enlarged_train_and_are_measured_at_their_side(tiny):
    study = Study(Settings(dataset=f"tiny-imagenet:{tiny}", profile="smoke", size=24))
    assert study.test_images.x.shape[2:] == (16, 16)
    result = study.outcomes({"patch_shuffle": [3]})  # 3 divides 24 and not 16
    assert len(result.clean["normal"]) == 12
    study.robustness()
    assert Notebook(study.settings).gallery(2)[0].shape == (2, 3, 24, 24)
    assert study.cards["normal"]["model"]["image_size"] == 24
    assert pipeline.default_name(study.settings).startswith("smoke-tiny-imagenet-")


@pytest.mark.parametrize(("dataset", "lr"), [("shapetex", 0.1), ("shapetex-shape", 0.1), ("shapetex-texture", 0.05)])
def test_drawn_images_are_not_mirrored_and_textures_are_learned_slowly(dataset, lr):
    recipe = Study(Settings(dataset=dataset, **SMALL)).recipe("normal")
    assert (recipe.augment, recipe.lr) == (None, lr)  # a mirrored stripe is another class
