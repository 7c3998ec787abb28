"""Several maps of other depths in one set: each keeps its own scale, in any order, everywhere."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import cooler
import pytest
import torch

from hicray.config import DataConfig, ModelConfig, UserError
from hicray.maps.contacts import open_map
from hicray.maps.thin import derive
from hicray.model import checkpoint
from hicray.model.trained import from_plain, trained_on
from hicray.predict.enhance import enhance, refuse_other_parts
from hicray.predict.locus import Loci, MapFacts
from hicray.predict.network import NetworkFile
from hicray.predict.preflight import check
from hicray.predict.request import Enhance
from hicray.predict.tiler import in_process
from hicray.windows.collate import Collate
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.shards import prepare
from tests.trained import write_checkpoint

SIZE = 512
KEPT = {"half": 0.5, "faint": 0.01}
INPUTS = ("image", "coarse", "base", "total_reads")


@pytest.fixture(scope="module")
def maps(tiny_simulation, tmp_path_factory):
    """A map, half of its reads and a hundredth of them: the last under one read a base pair."""
    folder, uri = tmp_path_factory.mktemp("maps"), str(tiny_simulation.contacts[0])
    fine = open_map(uri, 128)
    made = {name: str(folder / f"{name}.mcool") for name in KEPT}
    for name, path in made.items():
        derive(fine, (256, 512), Path(path), keep=KEPT[name], side="kept")
    return {"deep": uri} | made


@pytest.fixture(scope="module")
def sets(tiny_data: DataConfig, maps, local_ray, tmp_path_factory):
    """Shard sets of the maps in both orders."""
    found = []
    for order in (tuple(maps.values()), tuple(maps.values())[::-1]):
        folder = tmp_path_factory.mktemp("shards")
        found.append((folder, prepare(replace(tiny_data, contacts=order), folder)))
    return found


def named(manifest, uri):
    (name,) = (name for name, info in manifest.sources.items() if info.contacts == uri)
    return name


def windows(folder, manifest, uri):
    """A map's windows by locus, as the network is given them."""
    collate, found = Collate(manifest, SIZE), {}
    for shard in manifest.files("train"):
        for rows in read_rows(shard_at(folder, shard), columns(SIZE), 16):
            batch = collate.decode(collate.compact(rows))
            for i, row in enumerate(rows.to_pylist()):
                if row["source"] == named(manifest, uri):
                    place = row["chrom"], row["row_start"]
                    found[place] = {name: getattr(batch, name)[i] for name in INPUTS}
    return found


@pytest.mark.parametrize("name", ["deep", "half", "faint"])
def test_the_order_of_maps_changes_no_input(sets, maps, name):
    first, second = (windows(*one, maps[name]) for one in sets)
    assert len(first) > 20
    assert first.keys() == second.keys()
    for place, inputs in first.items():
        for one, tensor in inputs.items():
            assert torch.equal(tensor, second[place][one]), (place, one)


def test_caps_are_each_maps_own(sets, maps):
    for _, manifest in sets:
        caps = {n: manifest.sources[named(manifest, uri)].caps for n, uri in maps.items()}
        assert caps["deep"][f"coarse_{SIZE}"] is None
        assert caps["faint"][f"coarse_{SIZE}"] == 100


def facts_of(info):
    name = f"coarse_{SIZE}"
    return MapFacts(info.total_reads[name], info.scale[name], tuple(info.expected[name]))


@pytest.mark.parametrize("name", ["deep", "half", "faint"])
def test_enhance_takes_each_map_as_training_took_it(sets, maps, name):
    for folder, manifest in sets:
        info = manifest.sources[named(manifest, maps[name])]
        facts = facts_of(info)
        network = NetworkFile(
            kind="checkpoint", where="", trained=trained_on(manifest, SIZE), digest=""
        )
        trained = network.for_map(facts.total_reads, 1).trained
        assert trained.source.name == named(manifest, maps[name])
        loci = Loci(open_map(maps[name], SIZE), facts, trained)
        for (chrom, start), theirs in list(windows(folder, manifest, maps[name]).items())[:8]:
            ours = loci.inputs(chrom, [(start, start)])
            for one, tensor in theirs.items():
                torch.testing.assert_close(getattr(ours, one)[0], tensor, rtol=1e-6, atol=1e-7)


@pytest.fixture
def request_of(sets, maps, tmp_path):
    """A network of all three maps, asked for the one of half depth."""
    trained = trained_on(sets[0][1], SIZE)
    write_checkpoint(tmp_path / "run", ModelConfig(sequence="off"), trained)
    folder, out = str(tmp_path / "run"), tmp_path / "out.mcool"
    return Enhance(checkpoint=folder, contacts=maps["half"], out=out, chroms=("chr2",))


def metadata(out):
    return cooler.Cooler(f"{out}::/resolutions/128").info["metadata"]


def test_the_nearest_in_depth_is_taken_and_said(request_of, sets):
    done = enhance(check(request_of), in_process)
    reads = sets[0][1].sources["half"].total_reads[f"coarse_{SIZE}"]
    deep = next(name for name in sets[0][1].sources if name not in KEPT)
    assert done.scale == (
        f"scale of half ({reads:,} reads) for a map of {reads:,} reads, nearer in depth than "
        f"{deep}, faint"
    )
    assert metadata(request_of.out)["source"] == {"name": "half", "total_reads": reads, "cap": None}


def test_like_chooses_the_depth_of_the_result(request_of, tmp_path):
    levels = {}
    for name in ("half", "faint"):
        asked = replace(request_of, like=name, out=tmp_path / f"{name}.mcool")
        done = enhance(check(asked), in_process)
        assert done.scale.startswith(f"scale of {name} (")
        assert "nearer" not in done.scale
        assert metadata(asked.out)["source"]["name"] == name
        levels[name] = cooler.Cooler(f"{asked.out}::/resolutions/128").pixels()[:]["count"].sum()
    assert levels["faint"] < 0.1 * levels["half"]


def test_parts_of_another_choice_are_refused(request_of):
    with pytest.raises(KeyboardInterrupt):
        enhance(check(request_of), lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    refuse_other_parts(check(request_of))
    with pytest.raises(UserError, match="holds chromosomes of another run"):
        check(replace(request_of, like="faint"))


def test_an_unknown_name_is_refused_with_those_there_are(request_of, sets):
    names = ", ".join(sets[0][1].sources)
    with pytest.raises(UserError, match=rf"--like x is no map .* \({names}\); give one of those"):
        check(replace(request_of, like="x"))


def old(trained, names):
    """As checkpoints kept it when all maps shared one scale."""
    fields = json.loads(json.dumps(asdict(trained)))
    first = fields["sources"][0]
    curve = {"cap": first["cap"], "fine_expected": first["fine_expected"]}
    return fields | curve | {"sources": list(names)}


def test_an_older_checkpoint_of_one_map_opens(request_of, sets, tmp_path):
    trained = trained_on(sets[0][1], SIZE)
    one = replace(trained, sources=(replace(trained.sources[0], total_reads=0),))
    assert from_plain(json.loads(json.dumps(asdict(trained))), "") == trained
    assert from_plain(old(one, [one.source.name]), "") == one
    note = tmp_path / "run" / checkpoint.TRIAL
    fields = json.loads(note.read_text())
    note.write_text(json.dumps(fields | {"trained": old(trained, ["one"])}))
    done = enhance(check(request_of), in_process)
    assert done.scale.startswith("scale of one for a map of ")


def test_an_older_checkpoint_of_several_maps_is_refused(request_of, sets, tmp_path):
    note = tmp_path / "run" / checkpoint.TRIAL
    fields = json.loads(note.read_text())
    trained = trained_on(sets[0][1], SIZE)
    note.write_text(json.dumps(fields | {"trained": old(trained, ["a", "b"])}))
    with pytest.raises(UserError, match=r"run was trained on a, b by an older hicray, which kept"):
        check(request_of)
