"""The strict reader: what a good file means, and what is said about a bad one."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detrbench.core.errors import SpecError
from detrbench.models.yaml_spec import IMAGE, ModelSpec, load_model_spec

GOOD = """\
nc: 80
scales:
  s: [0.50, 0.25, 512]
  l: [1.00, 1.00, 1024]

backbone:
  - [-1, 1, Conv, [32, 3, 2]]  # 0
  - [-1, 6, HGBlock, [48, 128, 3, "None", True]]  # 1

head:
  - [[-2, -1], 3, Concat, [1]]  # 2
  - [0, 1, nn.Upsample, [None, 2, nearest]]  # 3
  - [[2, 3], 1, RTDETRDecoder, [nc]]  # 4

detrbench:
  title: A small one
  params: 1234
  origin: made up for this test
  backbone_weights: {conv1: 0}
  published:
    - label: theirs
      source: a table
      params: 1.20M
      gflops: 108.0
      latency_ms: 11.60
      fps: 114
      settings: {nc: 1, fused: false, convention: thop, imgsz: 480x640}
"""
BLOCKS = {"Conv", "HGBlock", "Concat", "RTDETRDecoder"}

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(content: str | bytes) -> Path:
        path = tmp_path / "model.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(SpecError) as caught:
        load_model_spec(path, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert caught.value.hint, f"no hint: {caught.value}"
    return str(caught.value)


# ---------------------------------------------------------------------------------- a good file


def test_rows_say_what_the_file_says(write: Write) -> None:
    spec = load_model_spec(write(GOOD))
    conv, block, concat, upsample, decoder = spec.rows
    assert (conv.sources, conv.listed, conv.line, conv.stage) == ((IMAGE,), False, 7, "backbone")
    assert block.sources == (0,)
    assert block.args == (48, 128, 3, None, True)
    assert (concat.sources, concat.listed, concat.stage) == ((0, 1), True, "neck")
    assert upsample.args == (None, 2, "nearest")
    assert (decoder.sources, decoder.args, decoder.stage) == ((2, 3), (80,), "decoder")
    assert [row.index for row in spec.rows] == [0, 1, 2, 3, 4]


def test_a_row_is_named_with_its_place(write: Write) -> None:
    path = write(GOOD)
    spec = load_model_spec(path)
    error = spec.error(spec.rows[1], "It does not fit.", None)
    assert error.where == f"{path}, row 1 (line 8: HGBlock)"


def test_depth_scales_repeats_as_the_format_says(write: Write) -> None:
    """max(round(n * depth), 1), and one stays one; 3 * 0.5 rounds half to even, to 2."""
    spec = load_model_spec(write(GOOD))
    assert [row.repeats for row in spec.rows] == [1, 3, 2, 1, 1]


def test_the_first_scale_is_taken_aloud(write: Write) -> None:
    spec = load_model_spec(write(GOOD))
    assert (spec.scale, spec.depth, spec.width, spec.max_channels) == ("s", 0.5, 0.25, 512)
    assert spec.notes == ("no scale given, using the first: s",)


def test_a_chosen_scale_needs_no_note(write: Write) -> None:
    spec = load_model_spec(write("scale: l\n" + GOOD))
    assert (spec.scale, spec.depth, spec.max_channels, spec.notes) == ("l", 1.0, 1024, ())


def test_without_scales_nothing_is_scaled_but_by_the_old_multiples(write: Write) -> None:
    bare = re.sub(r"scales:\n.*\n.*\n", "depth_multiple: 0.33\n", GOOD)
    spec = load_model_spec(write(bare))
    assert (spec.scale, spec.depth, spec.width) == (None, 0.33, 1.0)
    assert spec.max_channels == float("inf")
    assert spec.rows[1].repeats == 2


def test_nc_can_be_given_instead(write: Write) -> None:
    spec = load_model_spec(write(GOOD), nc=3)
    assert (spec.nc, spec.rows[-1].args) == (3, (3,))


def test_our_block_keeps_digits_as_printed(write: Write) -> None:
    spec = load_model_spec(write(GOOD))
    (published,) = spec.published
    assert (spec.title, spec.params_nc80, spec.origin) == (
        "A small one",
        1234,
        "made up for this test",
    )
    assert dict(spec.backbone_weights) == {"conv1": 0}
    assert (published.params, published.gflops) == ("1.20M", "108.0")
    assert (published.latency_ms, published.fps) == ("11.60", "114")
    assert published.settings == {
        "nc": 1,
        "fused": False,
        "convention": "thop",
        "imgsz": "480x640",
    }


def test_a_file_without_our_block_is_titled_by_its_name(write: Write) -> None:
    spec = load_model_spec(write(GOOD[: GOOD.index("detrbench:")]))
    assert (spec.title, spec.params_nc80, spec.published) == ("model", None, ())


@pytest.mark.parametrize(
    "line",
    ["names: {0: person}", "task: detect", "ch: 3", "end2end: true", "activation:", "scale:"],
)
def test_keys_that_change_nothing_are_accepted(write: Write, line: str) -> None:
    assert load_model_spec(write(f"{GOOD}{line}\n")).rows == load_model_spec(write(GOOD)).rows


def test_a_number_like_1e_3_is_a_number(write: Write) -> None:
    spec = load_model_spec(write(GOOD.replace("[48, 128", "[1e-3, 128")))
    assert spec.rows[1].args[0] == 0.001


def test_an_alias_is_what_it_names(write: Write) -> None:
    text = GOOD.replace("- [-1, 1, Conv, [32, 3, 2]]", "- &c [-1, 1, Conv, [32, 3, 2]]\n  - *c")
    assert load_model_spec(write(text)).rows[1].args == (32, 3, 2)


def test_only_the_last_row_is_the_decoder_even_if_it_repeats_another(write: Write) -> None:
    text = GOOD.replace("- [[2, 3], 1, RT", "- &last [[2, 3], 1, RT").replace("# 4", "\n  - *last")
    stages = [row.stage for row in load_model_spec(write(text)).rows]
    assert stages == ["backbone", "backbone", "neck", "neck", "neck", "decoder"]


def test_nc_given_makes_up_for_a_file_without_one(write: Write) -> None:
    assert load_model_spec(write(GOOD.replace("nc: 80", "")), nc=7).nc == 7
    assert "`nc` is 'many'" in refusal(write(GOOD.replace("nc: 80", "nc: many")), nc=7)


def test_a_spec_can_be_copied_and_sent_to_another_process(write: Write) -> None:
    spec = load_model_spec(write(GOOD))
    assert copy.deepcopy(spec) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


# -------------------------------------------------------------------------------------- bad files

# What replaces what in the good file, and what the message must say.
BAD_ROWS = {
    "four values": (
        "[-1, 1, Conv, [32, 3, 2]]",
        "[-1, 1, Conv]",
        "row 0 (line 7).*3 values, not 4",
    ),
    "a scalar row": (
        "[-1, 1, Conv, [32, 3, 2]]",
        "Conv",
        "row 0 (line 7).*'Conv' stands where a row",
    ),
    "a mapping row": ("[-1, 1, Conv, [32, 3, 2]]", "{Conv: 1}", "row 0.*a mapping stands where"),
    "forward": (
        "[0, 1, nn.Up",
        "[4, 1, nn.Up",
        "row 3 (line 12: nn.Upsample).*a row that comes later",
    ),
    "itself": ("[0, 1, nn.Up", "[3, 1, nn.Up", "row 3.*`from` is 3: itself.*can read row 0 to 2"),
    "out of range": ("[0, 1, nn.Up", "[99, 1, nn.Up", "row 3.*a row that comes later"),
    "before the start": ("[[-2, -1]", "[[-3, -1]", "row 2 (line 11: Concat).*before the first row"),
    "from text": ("[0, 1, nn.Up", "[x, 1, nn.Up", "`from` is 'x', not a row number"),
    "from bool": ("[0, 1, nn.Up", "[true, 1, nn.Up", "`from` is 'true', not a row number"),
    "from float": ("[0, 1, nn.Up", "[0.5, 1, nn.Up", "`from` is '0.5', not a row number"),
    "from empty": ("[[2, 3], 1", "[[], 1", "`from` is an empty list"),
    "from nested": ("[[2, 3], 1", "[[[2], 3], 1", "`from` is a list, not a row number"),
    "first row": ("[-1, 1, Conv", "[0, 1, Conv", "row 0.*the first row has only the image"),
    "no repeats": ("[-1, 6, HG", "[-1, 0, HG", "row 1.*`repeats` is '0', not a whole number"),
    "negative repeats": ("[-1, 6, HG", "[-1, -1, HG", "`repeats` is '-1'"),
    "float repeats": ("[-1, 6, HG", "[-1, 1.5, HG", "`repeats` is '1.5'"),
    "bool repeats": ("[-1, 6, HG", "[-1, true, HG", "`repeats` is 'true'"),
    "a million repeats": ("[-1, 6, HG", "[-1, 1000000, HG", "`repeats` is '1000000'.*1 to 500"),
    "near miss": ("HGBlock", "HGBlok", "row 1 (line 8).*no block HGBlok.*HGBlock.*--blocks FILE"),
    "code": ("HGBlock", "__import__('os')", "row 1 (line 8).*not the name of a block"),
    "deep nn": ("nn.Upsample", "nn.functional.relu", "there is no block nn.functional.relu"),
    "no name": ("HGBlock", "7", "'7' is not the name of a block"),
    "scalar args": ("[32, 3, 2]", "32", "row 0.*the arguments are '32', not a list"),
    "mapping args": ("[32, 3, 2]", "{c2: 32}", "row 0.*the arguments are a mapping, not a list"),
    "mapping arg": ("[32, 3, 2]", "[{c2: 32}]", "row 0.*an argument is a mapping"),
}
BAD_FILES = {
    "unknown key": (
        "nc: 80",
        "nc: 80\nbackbones: 1",
        "line 2.*unknown top-level key `backbones`.*backbone",
    ),
    "no nc": ("nc: 80", "", "there is no `nc`"),
    "nc 0": ("nc: 80", "nc: 0", "line 1: `nc` is '0'"),
    "nc text": ("nc: 80", "nc: many", "`nc` is 'many'"),
    "nc bool": ("nc: 80", "nc: true", "`nc` is 'true'"),
    "nc float": ("nc: 80", "nc: 80.0", "`nc` is '80.0'"),
    "nc list": ("nc: 80", "nc: [80]", "`nc` is a list"),
    "no backbone": ("backbone:", "names:", "there is no `backbone`.*a list of rows"),
    "no head": ("head:", "names:", "there is no `head`"),
    "other scale": ("nc: 80", "nc: 80\nscale: m", "line 2: there is no scale 'm'.*known: l, s"),
    "short scale": ("[0.50, 0.25, 512]", "[0.5, 0.25]", "the scale s has 2 values, not 3"),
    "scalar scale": ("[0.50, 0.25, 512]", "0.5", "the scale s is '0.5', not a list"),
    "zero width": ("0.25, 512", "0, 512", "a multiplier is '0'"),
    "endless depth": ("[0.50,", "[1.0e+6,", "row 1 (line 8: HGBlock).*are 6000000"),
    "scalar scales": (
        "scales:\n  s: [0.50, 0.25, 512]\n  l:",
        "scales: s\nnames:",
        "`scales` is 's'",
    ),
    "activation": ("nc: 80", "nc: 80\nactivation: nn.ReLU()", "`activation: 'nn.ReLU.*not impl"),
    "key points": (
        "nc: 80",
        "nc: 80\nkpt_shape: [17, 3]",
        "`kpt_shape: a list` is not implemented",
    ),
    "task": ("nc: 80", "nc: 80\ntask: pose", "`task: 'pose'` is not implemented"),
    "channels": ("nc: 80", "nc: 80\nch: 1", "`ch: '1'` is not implemented"),
    "twice": ("nc: 80", "nc: 80\nnc: 81", "line 2: `nc` stands here twice.*first is in line 1"),
    "our typo": ("title:", "titel:", "unknown key `titel`.*did you mean title"),
    "our params": ("params: 1234", "params: 1.2M", "`params` is '1.2M'"),
    "figure typo": ("gflops:", "gflop:", "unknown key `gflop`.*did you mean gflops"),
    "no source": ("source: a table", "source:", "needs a label and a source"),
    "settings typo": ("fused: false", "fuse: false", "unknown key `fuse`.*did you mean fused"),
    "settings kind": ("fused: false", "fused: 0", "`fused` is '0'"),
    "settings nc": ("nc: 1,", "nc: true,", "`nc` is 'true'"),
    "weights row": ("{conv1: 0}", "{conv1: 5}", "the row for conv1` is '5'.*0 to 4"),
}


def _check(write: Write, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    message = refusal(path, known_blocks=BLOCKS)
    assert message.startswith(str(path))
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), message, re.DOTALL), message


@pytest.mark.parametrize(("old", "new", "said"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_refused_with_its_place(write: Write, old: str, new: str, said: str) -> None:
    _check(write, old, new, said)


@pytest.mark.parametrize(("old", "new", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_with_its_place(write: Write, old: str, new: str, said: str) -> None:
    _check(write, old, new, said)


@pytest.mark.parametrize(
    ("section", "value"), [("backbone", "7"), ("backbone", "[]"), ("head", ""), ("head", "{a: 1}")]
)
def test_a_section_that_is_no_list_of_rows(write: Write, section: str, value: str) -> None:
    other = "head" if section == "backbone" else "backbone"
    text = f"nc: 1\n{other}: [[-1, 1, Conv, [8]]]\n{section}: {value}\n"
    assert re.search(rf"line 3: `{section}` (is|has)", refusal(write(text)))


@pytest.mark.parametrize("nc", [0, -1, True, 1.0, "80", 10**30])
def test_a_number_of_classes_that_is_none(write: Write, nc: object) -> None:
    assert "number of classes" in refusal(write(GOOD), nc=nc)


def test_everything_unknown_is_said_at_once_with_the_ways_out(write: Write) -> None:
    text = (
        GOOD.replace("HGBlock", "HGBlok")
        .replace("Concat", "Fuze")
        .replace("nc: 80", "nc: 80\na: 1")
    )
    text = text.replace("[0, 1, nn.Upsample, [None, 2, nearest]]", "[0, 1, Fuze, []]")
    message = refusal(write(text), known_blocks=BLOCKS)
    assert "3 names are not known: the top-level key `a` (line 2) and the blocks " in message
    assert "HGBlok (line 9), Fuze (lines 12 and 13)\n" in message
    assert "HGBlok: did you mean HGBlock? A block of your own" in message
    assert "Fuze:" not in message  # nothing is near
    assert "--blocks FILE.py" in message
    assert "my_model.py:build" in message
    assert "ultralytics:FILE.yaml" in message


def test_top_level_variables_stand_in_rows(write: Write) -> None:
    text = GOOD.replace("nc: 80", "nc: 80\nwidth: 32\nnode: Conv\nmode:")
    text = text.replace("Conv, [32, 3, 2]]", "node, [width, [mode, width], wide]]")
    row = load_model_spec(write(text), known_blocks=BLOCKS).rows[0]
    assert (row.module, row.args) == ("Conv", (32, (None, 32), "wide"))
    unused = text.replace("node, [", "Conv, [")
    assert "unknown top-level key `node`" in refusal(write(unused), known_blocks=BLOCKS)


@pytest.mark.parametrize(
    ("name", "scale", "note"),
    [
        ("model", None, "no scale given, using the first: s"),
        ("model", "l", "scale l, as asked for"),
        ("yolov8l-rtdetr", None, "scale l, as in the file's name"),
        ("yolo11l", "s", "scale s, as asked for"),
        ("yolov8x", None, "no scale given, using the first: s"),  # there is no x
        ("yolov8large", None, "no scale given, using the first: s"),
    ],
)
def test_the_scale_that_was_used_is_said(
    write: Write, name: str, scale: str | None, note: str
) -> None:
    path = write(GOOD).rename(write(GOOD).with_name(f"{name}.yaml"))
    spec = load_model_spec(path, scale=scale)
    assert spec.notes == (note,)
    assert spec.scale == (note.rpartition(": ")[2] if "first" in note else note.split()[1][0])


def test_a_scale_that_there_is_not(write: Write) -> None:
    assert "there is no scale 'm'\n  known: l, s." in refusal(write(GOOD), scale="m")
    bare = re.sub(r"scales:\n.*\n.*\n", "", GOOD)
    assert "the scale m is asked for, but there are no `scales`" in refusal(write(bare), scale="m")


def test_multiples_beside_scales_are_read_and_not_used_aloud(write: Write) -> None:
    assert "a multiplier is 'banana'" in refusal(write(GOOD + "depth_multiple: banana\n"))
    spec = load_model_spec(write("scale: l\n" + GOOD + "width_multiple: 0.5\n"))
    assert spec.width == 1.0
    assert spec.notes == ("`width_multiple` is not used: the scale has its own",)


def test_a_first_row_of_a_foreign_block_may_be_counted_as_rows(write: Write) -> None:
    head = "[[3, 1, Conv, [8]], [[2, -1, 5], 1, Dec, [nc]]]"
    text = f"nc: 1\nbackbone: [[-1, 1, Net, []]]\nhead: {head}\n"
    spec = load_model_spec(write(text))
    assert [row.module for row in spec.rows] == ["Net", *["Index"] * 4, "Conv", "Dec"]
    assert [row.sources for row in spec.rows[5:]] == [(3,), (2, 5, 5)]
    assert spec.notes == ("the maps of row 0 are counted as rows 1 to 4",)
    assert "a row that comes later" in refusal(write(text.replace("Net", "Conv")))
    assert "a row that comes later" in refusal(write(text), maps=())


# ---------------------------------------------------------------------- hostile and broken texts

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in pairwise("abcdefghi")
)
CHAIN = "a0: &a0 [[[[x]]]]\n" + "".join(f"a{i}: &a{i} [[[[*a{i - 1}]]]]\n" for i in range(1, 2000))
BROKEN = {
    "empty": ("", "the file is empty"),
    "only a comment": ("# nothing\n", "the file is empty"),
    "not YAML": ("nc: [80\n", "line 2: this is not YAML"),
    "a list": ("- 1\n", "a model file is a list, not a mapping"),
    "a word": ("hello\n", "a model file is 'hello', not a mapping"),
    "two documents": (GOOD + "---\n" + GOOD, "a second document starts"),
    "deep lists": ("a: " + "[" * 100_000, "line 1: values are nested deeper than"),
    "deep mappings": ("{a: " * 60_000, "nested deeper than"),
    "deep block": ("- " * 50_000, "nested deeper than"),
    "billion laughs": (LAUGHS, "aliases written out"),
    "chained aliases": (CHAIN, "nested deeper than"),
    "an alias of itself": ("a: &a [*a]\n", r"\*a names nothing above it"),
    "an unknown alias": ("a: *b\n", r"\*b names nothing above it"),
    "too many values": ("a: [" + "1," * 20_000 + "]", "more than 10000 values"),
    "too large": ("#" * 10_000_000, "larger than 256 KiB"),
    "binary": (b"\x80\x04\x95\xff\xfe", "not text in UTF-8"),
    "control characters": (b"nc: \x01\n", "this is not YAML"),
    "escaped control characters": ('nc: "\\e[31m"\n', "control characters"),
    "an escape beyond Unicode": ('nc: "\\U00110000"\n', "this is not YAML"),
    "a Python object": ("nc: !!python/object/apply:os.abort []\n", "the tag !!python/object/apply"),
    "a Python list": ("!!python/tuple [1]\n", "the tag !!python/tuple"),
    "a custom tag": ("nc: !secret 80\n", "the tag !secret"),
    "a tag that does not fit": ("nc: !!int eighty\n", "cannot be read as int"),
    "a huge number": ("nc: 99999999999\n", "beyond any number that a layer can use"),
    "an absurd number": ("nc: " + "9" * 100_000, "longer than any number"),
    "a number in base 60": ("nc: 1" + ":1" * 100_000, "longer than any number"),
    "infinity": ("nc: .inf\n", "beyond any number"),
    "a list as a key": ("? [1]\n: 2\n", "a list stands where a name belongs"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_text_is_refused_quickly(write: Write, content: str | bytes, said: str) -> None:
    path = write(content)
    start = time.perf_counter()
    message = refusal(path)
    assert time.perf_counter() - start < 5  # it takes a fraction; a runaway takes minutes
    assert message.startswith(str(path))
    assert re.search(said, message), message
    assert len(message) < 600


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    assert "this is a folder" in refusal(tmp_path)
    assert "cannot be read: No such file" in refusal(tmp_path / "none.yaml")
    assert "cannot be read" in refusal(tmp_path / "a\0b.yaml")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device files here")
def test_a_device_is_not_read_for_ever() -> None:
    assert "not a regular file" in refusal(Path("/dev/zero"))


def test_an_unreadable_file(write: Write) -> None:
    path = write(GOOD)
    path.chmod(0)
    try:
        path.open("rb").close()
    except PermissionError:
        assert "cannot be read: Permission denied" in refusal(path)
    else:
        pytest.skip("whoever runs this may read anything")


# ------------------------------------------------------------------------------------- properties

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
ANY_TREE = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ALMOST_ROWS = st.lists(
    st.tuples(
        st.integers(-3, 4) | st.lists(st.integers(-3, 4), max_size=3) | ANY_TREE,
        st.integers(-1, 3) | ANY_TREE,
        st.sampled_from(["Conv", "nn.ReLU", "nc"]) | ANY_TREE,
        st.lists(SCALARS, max_size=3) | ANY_TREE,
    ).map(list)
    | ANY_TREE,
    max_size=4,
)
ALMOST_MODELS = st.fixed_dictionaries(
    {"nc": st.integers(-1, 90), "backbone": ALMOST_ROWS, "head": ALMOST_ROWS},
    optional={"scales": ANY_TREE, "scale": ANY_TREE, "detrbench": ANY_TREE, "task": ANY_TREE},
)
QUICK = settings(
    max_examples=150,
    deadline=5000,  # each takes milliseconds; a busy machine must not fail it
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _reads_or_refuses(path: Path) -> None:
    """Anything but a ModelSpec or a SpecError that can be printed fails the test."""
    try:
        spec = load_model_spec(path, known_blocks=BLOCKS)
    except SpecError as error:
        refused = error
    else:
        assert isinstance(spec, ModelSpec)
        assert all(-1 <= source < row.index for row in spec.rows[1:] for source in row.sources)
        assert all(row.repeats >= 1 for row in spec.rows)
        return
    assert refused.where
    assert refused.hint
    assert str(refused).encode()  # lone surrogates could not be printed


@QUICK
@given(text=st.text(max_size=200) | st.text(alphabet="[]{}:-,&*!#?|>'\"\\ \nab1%@`~", max_size=60))
def test_any_text_is_read_or_refused(write: Write, text: str) -> None:
    _reads_or_refuses(write(text.encode("utf-8", "surrogatepass")))


@QUICK
@given(content=st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(write: Write, content: bytes) -> None:
    _reads_or_refuses(write(content))


@QUICK
@given(model=ALMOST_MODELS)
def test_almost_any_model_is_read_or_refused(write: Write, model: object) -> None:
    _reads_or_refuses(write(yaml.safe_dump(model, allow_unicode=True).encode("utf-8", "replace")))


@QUICK
@given(
    position=st.integers(0, len(GOOD) - 1),
    removed=st.integers(0, 4),
    inserted=st.text(alphabet="[]{}:-,&*!# \n0129axN\"'", max_size=4),
)
def test_a_typing_error_anywhere_is_read_or_refused(
    write: Write, position: int, removed: int, inserted: str
) -> None:
    _reads_or_refuses(write(GOOD[:position] + inserted + GOOD[position + removed :]))


# ------------------------------------------------------------------------------------ what it costs


def test_reading_needs_no_torch() -> None:
    code = (
        "import sys; from detrbench.models import catalog; "
        "from detrbench.models.yaml_spec import load_model_spec; "
        "specs = [load_model_spec(catalog.find_model(name)) for name in catalog.model_names()]; "
        "assert specs; print(*sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
