"""A corpus on the disk gives the windows of one in memory, without coming into memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tsar.errors import CorpusError, OptionError
from tsar.training.config import load_recipe
from tsar.training.corpus import load_corpus
from tsar.training.loop import pretrain
from tsar.training.mapped import check_mapped, read_mapped, write_mapped

ROOT = Path(__file__).parents[2]


def write_shard(path: Path, num_series: int, length: int, freq: str = "h") -> None:
    """Random walks, some with holes, in row groups of 16."""
    dice = np.random.default_rng(num_series)
    schema = pa.schema([("item_id", pa.string()), ("freq", pa.string()), ("target", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, num_series, 16):
            count = min(16, num_series - first)
            series = dice.normal(size=(count, length)).cumsum(1).astype(np.float32)
            series[0, 3:9] = np.nan
            ids = [str(first + number) for number in range(count)]
            writer.write_table(pa.table([ids, [freq] * count, list(series)], schema=schema))


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_shard(folder / "walks.parquet", 40, 300)
    write_shard(folder / "steps.parquet", 20, 500, "D")
    return folder


@pytest.mark.parametrize("split", ["train", "validation"])
def test_windows_are_those_of_the_corpus_in_memory(corpus, tmp_path, split):
    mapped = load_corpus(write_mapped(corpus, tmp_path / "mapped"), split=split)
    memory = load_corpus(corpus, split=split)
    assert (mapped.num_series, mapped.num_points) == (memory.num_series, memory.num_points)
    for seed in range(3):
        one, other = (c.sample(32, 100, torch.Generator().manual_seed(seed)) for c in (mapped, memory))
        assert torch.equal(one.nan_to_num(9.0), other.nan_to_num(9.0))
    one, other = (c.validation_windows(4, 64, 1) for c in (mapped, memory))
    assert torch.equal(one[1], other[1])


def test_a_run_on_it_is_the_same(corpus, tmp_path, tiny_recipe):
    write_mapped(corpus, tmp_path / "mapped")
    settings = ["train.steps=4", "data.corpus_share=0.9"]
    releases = [
        pretrain(load_recipe(tiny_recipe, [*settings, f"corpus={path}"]), tmp_path / f"run-{path.name}")
        for path in (corpus, tmp_path / "mapped")
    ]
    assert len({(release / "model.safetensors").read_bytes() for release in releases}) == 1


def test_a_damaged_folder_is_refused(corpus, tmp_path):
    folder = write_mapped(corpus, tmp_path / "mapped")
    with open(folder / "train" / "sums.bin", "r+b") as file:
        file.truncate(100)
    with pytest.raises(CorpusError) as caught:
        read_mapped(folder)
    assert caught.value.code == "corpus.bad_shard"
    with pytest.raises(CorpusError) as caught:
        write_mapped(tmp_path / "mapped", tmp_path / "other")
    assert caught.value.code == "corpus.missing"


@pytest.mark.parametrize("name", ["source", "lengths", "sums", "counts"])
def test_every_flipped_bit_is_found_and_those_of_small_files_at_once(corpus, tmp_path, name):
    folder = write_mapped(corpus, tmp_path / "mapped")
    check_mapped(folder)
    path = folder / "train" / f"{name}.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    for look in (check_mapped, read_mapped) if name in ("source", "lengths") else (check_mapped,):
        with pytest.raises(CorpusError, match=f"{name}.bin of train is damaged") as caught:
            look(folder)
        assert caught.value.code == "corpus.bad_shard"


def test_a_file_that_is_too_long_is_refused(corpus, tmp_path):
    folder = write_mapped(corpus, tmp_path / "mapped")
    with open(folder / "train" / "counts.bin", "ab") as file:
        file.write(bytes(8))
    with pytest.raises(CorpusError, match="has not"):
        read_mapped(folder)


def test_a_mapped_corpus_is_replaced_whole_and_leaves_nothing_beside(corpus, tmp_path):
    before = (write_mapped(corpus, tmp_path / "mapped") / "corpus.json").read_bytes()
    write_shard(corpus / "more.parquet", 16, 100)
    assert (write_mapped(corpus, tmp_path / "mapped") / "corpus.json").read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "mapped"]


def test_a_folder_of_anything_else_is_left_alone(corpus, tmp_path):
    """The folder of the shards itself would otherwise be replaced, and the shards be lost."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for folder in (corpus, tmp_path / "full"):
        before = sorted(path.name for path in folder.iterdir())
        with pytest.raises(OptionError, match="no mapped corpus"):
            write_mapped(corpus, folder)
        assert sorted(path.name for path in folder.iterdir()) == before


PROBE = """
import json, sys
import torch
from tsar.training.corpus import load_corpus
from tsar.training.mapped import write_mapped

def own():  # kB of memory that cannot be dropped: mapped pages can
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0])

source, folder = sys.argv[1:]
generator = torch.Generator().manual_seed(0)
load_corpus(sys.argv[2] + "-small").sample(64, 576, generator)
before = own()
write_mapped(source, folder)
written = own() - before
corpus = load_corpus(folder)
for _ in range(100):
    corpus.sample(64, 576, generator)
print(json.dumps({"written": written, "read": own() - before, "points": corpus.num_points}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_stays_bounded(tmp_path, corpus):
    large = tmp_path / "large"
    large.mkdir()
    write_shard(large / "walks.parquet", 160, 100_000)
    write_mapped(corpus, tmp_path / "mapped-small")
    arguments = [sys.executable, "-c", PROBE, str(large), str(tmp_path / "mapped")]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    in_memory = 16 * facts["points"] / 1024
    assert in_memory > 200_000, "kB, if it were read"
    assert facts["written"] < 0.3 * in_memory, facts
    assert facts["read"] < 0.3 * in_memory
