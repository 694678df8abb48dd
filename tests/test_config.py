"""ariel_lib.config: what a YAML file and overrides may say, and what is said when they are wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ariel_lib.config import Config, ConfigError, config_hash, from_dict, load_config, shipped_configs, to_dict

TRAIN = Path(__file__).parents[1] / "configs" / "train.yaml"


def write_yaml(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_said_gives_the_defaults():
    assert load_config() == Config()


def test_the_shipped_file_holds_no_more_than_defaults():
    assert config_hash(load_config(TRAIN)) == config_hash(Config())


def test_the_documented_override_line_sets_what_it_names():
    line = "+model=v50 +data=ariel_nominal +training.seed=1337 +training.batch_size=16 +training.optimizer=adamw"
    line += " +training.challenge_loss=true +calibration.temperature=false data.root=/some/where"
    config = load_config(TRAIN, line.split())
    assert (config.training.seed, config.training.batch_size, config.calibration.temperature) == (1337, 16, False)
    assert (config.data.root, config.data.split) == ("/some/where", "train")


@pytest.mark.parametrize("lead", ["", "+", "++"])
def test_a_plus_makes_no_difference(tmp_path, lead):
    path = write_yaml(tmp_path / "mine.yaml", "training:\n  seed: 3\n")
    assert load_config(path, [f"{lead}training.seed=4"]).training.seed == 4
    assert load_config(path, [f"{lead}training.epochs=5"]).training == replace(Config().training, seed=3, epochs=5)
    assert load_config(path, [f"{lead}data=toy"]).data.split == "toy"


def test_later_overrides_win_and_groups_do_not_undo_them():
    config = load_config(TRAIN, ["training.seed=1", "training.seed=2", "data.root=/there", "+data=toy"])
    assert config.training.seed == 2
    assert (config.data.split, config.data.root) == ("toy", "/there")


def test_a_toy_split_reads_the_train_folder_of_the_toy_set():
    data = load_config(TRAIN, ["+data.split=toy"]).data
    assert (data.root, data.folder) == ("build/toy/data", "train")


def test_a_file_of_the_users_own_finds_the_shipped_groups_and_its_own(tmp_path, monkeypatch):
    path = write_yaml(
        tmp_path / "my run.yaml", "defaults:\n  - model: v50\n  - _self_\ntraining: {learning_rate: 1e-3}\n"
    )
    (tmp_path / "data").mkdir()
    write_yaml(tmp_path / "data" / "mine.yaml", "root: /mine\n")
    monkeypatch.chdir(tmp_path)
    config = load_config("my run.yaml", ["+model=v50", "+data=mine"])
    assert config == replace(Config(), data=replace(Config().data, root="/mine"))
    assert load_config(path, ["data=toy"]).data.split == "toy"


def test_every_shipped_file_composes():
    for group in ("data", "model"):
        for path in sorted((shipped_configs() / group).glob("*.yaml")):
            load_config(None, [f"+{group}={path.stem}"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.batchsize=3", "Did you mean training.batch_size?"),
        ("trainng.seed=3", "Did you mean training"),
        ("seed=3", "Did you mean training.seed?"),
        ("+modle=v50", "Did you mean model?"),
        ("+model=v5", "v50"),
        ("training.seed=abc", "training.seed: expected a whole number, found 'abc'"),
        ("training.seed=1.5", "training.seed: expected a whole number"),
        ("training.seed=true", "training.seed: expected a whole number"),
        ("training.seed='3'", "training.seed: expected a whole number, found '3'"),
        ("training.learning_rate='1e-3'", "training.learning_rate: expected a number"),
        ("training.optimizer=3", "training.optimizer: expected one of"),
        ("training.seed=é", "expected a whole number after training.seed=, found 'é'"),
        ("model.relations=[a=b]", "expected a list such as [a,b] after model.relations="),
        ("datä.root=/x", "unknown setting datä.root"),
        ("training.seed={a: 1}", "training.seed: expected a whole number"),
        ("training.challenge_loss=1", "training.challenge_loss: expected true or false"),
        ("training.learning_rate=fast", "training.learning_rate: expected a number"),
        ("training.learning_rate=0", "training.learning_rate: expected more than 0"),
        ("training.validation_fraction=1", "training.validation_fraction: expected between 0 and 1"),
        ("training.seed=null", "training.seed: expected a whole number"),
        ("training=3", "training is a section"),
        ("training.seed", "is not understood"),
        ("training.seed=1,2", "holds several values"),
        ("model.relations=white", "model.relations: expected a list"),
        ("model.relations=[blue]", "model.relations: expected one of neighbour"),
        ("model.operator=gcn", "model.operator: expected one of rgcn"),
        ("data.split=trian", "data.split: expected one of train"),
        ("training.out=${no.such.key}", "no.such.key"),
    ],
)
def test_a_wrong_override_is_one_sentence_that_names_the_key(override, said):
    with pytest.raises(ConfigError) as caught:
        load_config(TRAIN, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


PATHS = ["/data/run=3", "/data/é", "/data/it's", "/data/(1)"]
PATHS += ["/a,b", "/d/#1", "['a']", '/d/"b', "/d/a;b!", "日本", "C:\\", "a\\'b", "123", "/a b"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_taken_as_it_is_written(path):
    assert load_config(TRAIN, [f"data.root={path}", f"+training.out={path}"]).data.root == path
    assert load_config(None, [f"training.out={path}"]).training.out == path


def test_quotes_null_and_the_users_home_keep_their_meaning(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    path = write_yaml(tmp_path / "mine.yaml", "data: {root: ~/x}\n")
    assert load_config(None, ["data.root='/a b'"]).data.root == "/a b"
    assert load_config(path, ["training.out=~/y"]) == load_config(None, ["data.root=/home/me/x", "training.out='/home/me/y'"])
    assert load_config(path, ["data.root=null"]).data.root is None
    with pytest.raises(ConfigError, match="expected text"):
        load_config(write_yaml(tmp_path / "list.yaml", "data: {root: [a]}\n"))


def test_a_shipped_file_is_found_by_its_name_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/toy.yaml") == load_config(TRAIN.with_name("toy.yaml"))
    with pytest.raises(ConfigError, match=r"no such configuration file. The package brings .*configs/train\.yaml"):
        load_config("configs/tiny.yaml")
    (tmp_path / "configs").mkdir()
    write_yaml(tmp_path / "configs" / "toy.yaml", "training: {seed: 7}\n")
    assert load_config("configs/toy.yaml").training.seed == 7  # the user's own comes first


@pytest.mark.parametrize("text", ["a: [1\nb:", "- 1\n- 2\n", "training: 3\n", "training:\n  sed: 3\n"])
def test_a_wrong_file_is_one_sentence(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load_config(write_yaml(tmp_path / "bad.yaml", text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such configuration file"):
        load_config("nowhere.yaml")


def test_a_configuration_survives_json():
    config = load_config(TRAIN, ["model.relations=[white,region]", "training.max_hours=2", "data.root=/x"])
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_lists_and_tuples_say_the_same_and_defaults_stay_as_they_were():
    relations = ("white", "region")
    expected = replace(Config(), model=replace(Config().model, relations=relations))
    for given in (relations, list(relations)):
        assert from_dict({"model": {"relations": given}}) == expected
    assert from_dict({"model": {"relations": []}}).model.relations == ()
    assert from_dict({}) == Config() and isinstance(from_dict({}).model.relations, tuple)


def test_a_whole_number_stands_for_a_float_and_null_for_what_is_optional():
    config = load_config(TRAIN, ["training.max_hours=2", "data.root=null"])
    assert config.data.root is None and isinstance(config.training.max_hours, float)
    assert load_config(TRAIN, ["training.max_hours=2", "training.max_hours=null"]) == load_config(TRAIN)


def test_earlier_names_keep_working_and_stand_alone():
    old = ["model.origin=memory", "training.start=w.safetensors", "training.gll=false", "symbolic.rt.weight=0.5"]
    config = load_config(None, old)
    assert (config.model.initial_estimate, config.training.initial_weights) == ("library", "w.safetensors")
    assert config.training.challenge_loss is False and config.symbolic.weights == {"molecular_bands": 0.5}
    with pytest.raises(ConfigError, match=r"symbolic\.fft is the earlier name of symbolic\.resolution: give one of them"):
        load_config(None, ["symbolic.fft.weight=1", "symbolic.resolution.weight=1"])


def test_the_hash_sees_results_and_not_places_or_speed():
    plain = config_hash(load_config(TRAIN))
    same = ["data.root=/x", "data.light_curves=/y", "training.out=/z", "calibration.workers=9"]
    assert config_hash(load_config(TRAIN, same)) == plain
    assert config_hash(load_config(TRAIN, ["training.learning_rate=0.001"])) == plain
    assert config_hash(load_config(TRAIN, ["training.learning_rate=1e-3", "training.weight_decay=0.01"])) == plain
    for override in ("training.seed=1", "model.d_model=16", "data.split=toy", "training.threads=2"):
        assert config_hash(load_config(TRAIN, [override])) != plain
    assert len(plain) == 64


@pytest.mark.parametrize(
    "overrides", [["uncertainty.corel=true", "uncertainty.corel.q=0.9"], ["+uncertainty.corel.q=0.9", "+uncertainty.corel=true"]]
)
def test_a_group_with_a_switch_is_turned_on_and_set(overrides):
    corel = load_config(TRAIN, overrides).uncertainty.corel
    assert (corel.enabled, corel.q) == (True, 0.9)
    assert load_config(TRAIN, ["uncertainty.corel=false", "uncertainty.corel.q=0.80"]) == load_config(TRAIN)


def test_a_file_spells_the_switch_out(tmp_path):
    path = write_yaml(tmp_path / "mine.yaml", "uncertainty: {corel: {enabled: true}}\nsymbolic: {fft: {weight: 0.1}}\n")
    config = load_config(path)
    assert config.uncertainty.corel.enabled and config.symbolic.weights == {"resolution": 0.1}
    assert load_config(path, ["uncertainty.corel=false"]).uncertainty.corel.enabled is False
    with pytest.raises(ConfigError, match=r"uncertainty\.corel: expected keys and values, found True"):
        load_config(write_yaml(tmp_path / "short.yaml", "uncertainty: {corel: true}\n"))


def test_the_shipped_corel_file_turns_corel_on():
    config = load_config(TRAIN.with_name("corel.yaml"), ["uncertainty.corel.q=0.9"])
    assert (config.uncertainty.corel.enabled, config.uncertainty.corel.q) == (True, 0.9)


def test_weights_of_rules_are_set_by_name_and_checked():
    assert load_config(TRAIN, ["symbolic.smoothness.weight=0.3"]).symbolic.weights == {"smoothness": 0.3}
    with pytest.raises(ConfigError, match=r"Did you mean symbolic\.smoothness\?"):
        load_config(TRAIN, ["symbolic.smoothnes.weight=0.3"])
    with pytest.raises(ConfigError, match="0 or more"):
        load_config(TRAIN, ["symbolic.molecular_bands.weight=-1"])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        load_config(TRAIN, ["uncertainty.corel.q=80"])
