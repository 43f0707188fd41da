"""Generates ConvNets-250K and BNFree-ConvNets-50K and shows what they are like.

  python -m experiments.convnets_dataset --split=all --output_dir=data
  python -m experiments.convnets_dataset --split=all --size=1000 \\
    --space=mobilenet_like --max_macs=50000000 --output_dir=data

All splits, 301,300 networks in 140 MB, take about five minutes on two cores.
--output_dir is a TFDS data folder; training reads the files of
--file_format=array_record. What is there already is not generated again.
"""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

import tqdm
from absl import flags

from experiments import app
from qinit.archs import collection, space
from qinit.errors import DataError, QinitError, one_of

_BN_FREE_50K = "bn_free_50k"
_SPLITS = tuple(space.PAPER)
_SPACES = {"paper": lambda space: space, "mobilenet_like": space.mobilenet_like}

_SPLIT = flags.DEFINE_string(
  "split", "all", f"Comma list of splits, or all: {', '.join(_SPLITS)}."
)
_SIZE = flags.DEFINE_integer(
  "size", None, "Networks of each split; the paper's by default.", lower_bound=1
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "TFDS data folder.")
_FILE_FORMAT = flags.DEFINE_string(
  "file_format", "tfrecord", "tfrecord, or array_record for random access."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed.", lower_bound=0)
_PROCESSES = flags.DEFINE_integer(
  "processes", None, "Processes; all cores by default.", lower_bound=1
)
_SPACE = flags.DEFINE_string("space", "paper", f"{' or '.join(_SPACES)}.")
_OPS = flags.DEFINE_string(
  "ops", "", "Comma list of the operations of the cells."
)
_KERNELS = flags.DEFINE_string(
  "kernels", "", "Comma list of kernel sizes, of the stem too."
)
_CHANNELS = flags.DEFINE_string(
  "channels",
  "",
  "Least and largest width of the first cells, such as 16,64, drawn in steps"
  " of 16 instead of by the reference's table.",
)
_MAX_PARAMS = flags.DEFINE_integer(
  "max_params", None, "Most trainable parameters.", lower_bound=1
)
_MAX_MACS = flags.DEFINE_integer(
  "max_macs", None, "Most multiply-accumulates per image.", lower_bound=1
)
_NAME = flags.DEFINE_string(
  "name", None, "TFDS config of another space than the paper's."
)


def main(argv):
  del argv
  collections = chosen()
  app.load_tensorflow()
  from qinit.archs.survey import table

  surveys, samples = {}, {}
  for name, networks in collections.items():
    stored = _prepared(name, networks)
    found = _read(name, stored)
    surveys |= {split: survey for split, (survey, _) in found.items()}
    samples |= {split: sample for split, (_, sample) in found.items()}
  print("\n".join(table(surveys)), flush=True)
  folder = (
    Path(_OUTPUT_DIR.value) / "convnets_figures" / next(iter(collections))
  )
  _draw(folder, surveys, samples)


def chosen() -> dict[str, collection.Collection]:
  """What the flags ask for, by the name of the TFDS config.

  Raises:
    QinitError: naming the flag's value that is wrong.
  """
  if not _OUTPUT_DIR.value:
    raise QinitError("--output_dir is missing")
  one_of("file format", _FILE_FORMAT.value, ("tfrecord", "array_record"))
  splits = _names("split", _SPLIT.value, _SPLITS)
  change, base = _space()
  common = (_SIZE.value, _SEED.value, change)
  result = {}
  if set(splits) - {_BN_FREE_50K}:
    networks = collection.convnets_250k(*common)
    result[base or "convnets_250k"] = networks.only(splits)
  if _BN_FREE_50K in splits:
    name = f"{base}_{_BN_FREE_50K}" if base else _BN_FREE_50K
    result[name] = collection.bn_free_50k(*common)
  return result


def _space():
  """The change to the paper's spaces, and the name of what comes of it; no
  name for the paper's."""
  preset = _SPACES[one_of("space", _SPACE.value, _SPACES)]
  options = dict(
    ops=_names("operation", _OPS.value, space.Space().ops),
    kernels=_numbers("kernels", _KERNELS.value),
    widths=_widths(_CHANNELS.value),
    max_params=_MAX_PARAMS.value,
    max_macs=_MAX_MACS.value,
  )

  def change(paper):
    return space.restricted(preset(paper), **options)

  name = None if _SPACE.value == "paper" else _SPACE.value
  if any(options.values()):
    name = f"custom_{space.digest(change(space.Space()))[:8]}"
  return change, _given_name() or name


def _given_name():
  name = _NAME.value
  if name is None:
    return None
  if name in collection.NAMED or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
    raise QinitError(
      f"--name={name} cannot be used: choose lower-case letters, digits and"
      f" '_', and none of {', '.join(collection.NAMED)}"
    )
  return name


def _names(what, text, table):
  if text == "all":
    return tuple(table)
  parts = [part.strip() for part in text.split(",") if part.strip()]
  return tuple(dict.fromkeys(one_of(what, part, table) for part in parts))


def _numbers(flag, text):
  parts = [part.strip() for part in text.split(",") if part.strip()]
  for part in parts:
    if not part.isdecimal():
      raise QinitError(f"--{flag} needs whole numbers, not {part!r}")
  return tuple(dict.fromkeys(map(int, parts)))


def _widths(text):
  ends = _numbers("channels", text)
  if not ends:
    return ()
  if len(ends) > 2 or ends[0] > ends[-1] or ends[0] % 8 or ends[0] < 8:
    raise QinitError(
      "--channels needs the least and the largest width, multiples of 8 such"
      f" as 16,64, not {text!r}"
    )
  return tuple(range(ends[0], ends[-1] + 1, 16))


def _prepared(name, networks):
  """The data set, generated where it is not there."""
  from qinit.archs.convnets import NAME, VERSION, Stored

  if not (Path(_OUTPUT_DIR.value) / NAME / name / VERSION).exists():
    _generate(name, networks)
  stored = Stored(_OUTPUT_DIR.value, name)
  wanted = json.loads(json.dumps(networks.identity()))
  if stored.identity != wanted or stored.format != _FILE_FORMAT.value:
    raise DataError(
      f"{stored.folder} holds other networks or files of another format:"
      " choose another --output_dir"
    )
  return stored


def _generate(name, networks):
  import tensorflow_datasets as tfds

  from qinit.archs.convnets_tfds import ConvNets250k, ConvNetsConfig

  known = name in collection.NAMED
  builder = ConvNets250k(
    config=name if known else ConvNetsConfig(name=name, networks=networks),
    networks=networks,
    processes=_PROCESSES.value,
    progress=_progress,
    data_dir=_OUTPUT_DIR.value,
    file_format=_FILE_FORMAT.value,
  )
  tfds.disable_progress_bar()
  with contextlib.redirect_stdout(io.StringIO()):  # what TFDS says of it
    builder.download_and_prepare()


def _progress(split, networks):
  yield from tqdm.tqdm(
    networks,
    desc=split.name,
    total=split.size,
    unit=" networks",
    disable=app.quiet(),
    mininterval=0.2 if sys.stderr.isatty() else 10,
  )


def _read(name, stored):
  """(survey, samples) of every split, by the name of its stream."""
  from qinit.archs.survey import survey
  from qinit.report.architecture_figures import samples

  return {
    _BN_FREE_50K if name.endswith(_BN_FREE_50K) else split: (
      survey(stored.read(split)),
      samples(stored.read(split)),
    )
    for split in stored.sizes
  }


def _draw(folder, surveys, samples):
  from qinit.files import write_text
  from qinit.report import architecture_figures, style

  folder.mkdir(parents=True, exist_ok=True)
  statistics = {name: survey.to_dict() for name, survey in surveys.items()}
  write_text(
    folder / "statistics.json", json.dumps(statistics, indent=1) + "\n"
  )
  figures = {
    "sizes": architecture_figures.histograms(surveys),
    "operations": architecture_figures.operations(surveys),
    "samples": architecture_figures.sheet(samples),
  }
  for name, figure in figures.items():
    style.save(figure, folder / f"{name}.png")
    print(folder / f"{name}.png")


def cli():
  app.run(main)


if __name__ == "__main__":
  cli()
