"""MMEB-V3's new data sets on tiny local data, laid out as VLM2Vec's setup script does."""

import json
import shutil
import tarfile
import wave
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from llave.data.mmeb import RowItem
from llave.data.row_text import met
from llave.errors import DataError
from llave.evaluation.benchmarks import get_benchmark, get_spec
from llave.evaluation.benchmarks.task import TaskData, Unsupported
from llave.evaluation.runner import evaluate
from llave.report.outputs import write_results

GONE = "/data/somebody/.cache/MMEB-V3/audio-tasks/speechcommand-1k/yes/1.wav"


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def tone(path: Path, seconds: float = 4.0) -> bytes:
    """A silent sound of some length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1000)
        file.writeframes(b"\0\0" * int(1000 * seconds))
    return path.read_bytes()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as dataset_setup_v3.py makes it, with a data set or two of each form."""
    root = tmp_path_factory.mktemp("v3")
    text, tool, memory = root / "text-tasks", root / "tool-tasks", root / "memory-tasks"
    documents = [{"_id": "d1", "title": "Cats", "text": "purr"}, {"_id": "d2", "title": "", "text": "Dogs bark"}]
    qrels = [{"query-id": "q1", "corpus-id": "d1", "score": 2}, {"query-id": "q1", "corpus-id": "d2", "score": 1}]

    nano = text / "NanoBEIR" / "NanoArguAna"
    write(
        nano / "queries" / "train-00000-of-00001.parquet", [{"_id": "q1", "text": "cats"}, {"_id": "d2", "text": "x"}]
    )
    write(nano / "corpus" / "train-00000-of-00001.parquet", documents)
    write(nano / "qrels" / "train-00000-of-00001.parquet", [*qrels[:1], {"query-id": "d2", "corpus-id": "d1"}])

    bright = text / "BRIGHT"
    for name in ("biology", "aops"):
        queries = [{"id": "1", "query": f"why, {name}?", "gold_ids": ["b"], "excluded_ids": ["a"]}]
        write(bright / "examples" / f"{name}-00000-of-00001.parquet", queries)
        texts = [{"id": "a", "content": f"{name} one"}, {"id": "b", "content": f"{name} two"}]
        write(bright / "documents" / f"{name}-00000-of-00001.parquet", texts)

    follow = text / "FollowIR" / "core17-instructions"
    about = {"_id": "q1", "text": "cats", "instruction_og": "Only animals.", "instruction_changed": "None."}
    write(follow / "queries.jsonl", [about])
    write(follow / "corpus.jsonl", documents)
    write(follow / "qrels_og" / "test.jsonl", qrels)
    write(follow / "qrels_changed" / "test.jsonl", [{**qrels[0], "corpus-id": "d2"}])

    r2med = text / "R2MED" / "Biology"
    write(r2med / "query.jsonl", [{"id": "q1", "text": "cats"}])
    write(r2med / "corpus.jsonl", [{"id": "d1", "text": "purr"}, {"id": "d2", "text": "bark"}])
    write(r2med / "qrels.jsonl", [{"q_id": "q1", "p_id": "d1", "score": 1}])

    tools = [
        {"id": "t1", "documentation": '{"name":"weather","api":"é"}'},
        {"id": "t2", "documentation": "plays music"},
    ]
    write(tool / "ToolDe-Candidates" / "web" / "tools-00000-of-00001.parquet", tools)
    asked = {
        "id": "1",
        "query": "will it rain?",
        "instruction": "Find a tool:",
        "labels": '[{"id": "t1"}]',
        "category": "web",
    }
    write(tool / "ToolDe-Queries" / "web" / "apibank" / "queries-00000-of-00001.parquet", [asked])

    write(
        memory / "task_instructions.json",
        [json.dumps({"REALTALK": {"event": "Find the event:", "REALTALK": "Find it:"}})],
    )
    for kind, name in (("event", "d1"), ("place", "d2")):
        folder = memory / "Dialogue" / "REALTALK" / kind
        write(folder / "queries.jsonl", [{"id": "q1", "text": f"which {kind}?"}])
        write(folder / "qrels.tsv", ["query-id\tcorpus-id\tscore", f"q1\t{name}\t1"])
    write(
        memory / "Dialogue" / "REALTALK" / "corpus.jsonl",
        [{"id": "d1", "text": "a party"}, {"id": "d2", "text": "a park"}],
    )
    write(memory / "Dialogue" / "REALTALK" / "place" / "corpus.jsonl", [{"id": "d2", "text": "a lake"}])

    for folder in ("image-tasks/MCMR/images", "gui-tasks/GUIAct/guiact"):
        for number, colour in enumerate(("red", "green")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 24), colour).save(root / folder / f"{number}.jpg")
    products = []
    for number in range(2):
        pictures = [{"url": "https://shop/gone.jpg"}, {"url": f"https://shop/i/{number}.jpg?v=2"}]
        lamp = {"title": f"Lamp {number}", "features": ["round", "warm"], "price": 9.5, "description": None}
        products.append({"candidate_id": number, **lamp, "images": pictures})
    write(root / "image-tasks" / "MCMR" / "candidates.jsonl", products)
    write(root / "image-tasks" / "MCMR" / "query.jsonl", [{"qid": 1, "query": "a green lamp", "pos_ids": [1]}])

    gui = root / "gui-tasks" / "GAE-GUIAct"
    screens = [
        {"cand_id": f"s{n}", "cand_text": "<|image_1|>", "cand_image_path": f"['guiact/{n}.jpg']"} for n in range(2)
    ]
    asked = {
        "qry_id": "1",
        "qry_text": "open the menu",
        "qry_image_path": None,
        "pos_id": "s1",
        "retrieval_type": "q2s",
    }
    write(gui / "queries" / "q2s-00000-of-00001.parquet", [asked])
    write(gui / "corpus" / "q2s-00000-of-00001.parquet", screens)
    course = [{"cand_id": "t1", "cand_text": "a <|image_1|> b", "cand_image_path": ["guiact/0.jpg", "guiact/1.jpg"]}]
    write(gui / "queries" / "q2t-00000-of-00001.parquet", [{**asked, "pos_id": "t1"}])
    write(gui / "corpus" / "q2t-00000-of-00001.parquet", course)
    _sounds(root / "audio-tasks")
    return root


def _sounds(root: Path) -> None:
    sound = {"bytes": tone(root / "esc50" / "x.wav"), "path": "x.wav"}
    kinds = [{"audio": sound, "target": number, "category": kind} for number, kind in enumerate(("dog", "rain"))]
    write(root / "esc50" / "data" / "train-00000-of-00001.parquet", kinds)
    write(root / "urbansound8k" / "csv_files" / "test.csv", ["slice_file_name,fold,classID,class", "7-1.wav,5,3,siren"])
    write(root / "speechcommand-1k" / "query_eval.parquet", [{"audio_path": GONE, "label_id": 0, "label": "yes"}])
    clotho = root / "clotho"
    tone(clotho / "evaluation" / "a.wav")
    captions = ",".join(f"caption_{number}" for number in range(1, 6))
    write(clotho / "clotho_captions_evaluation.csv", [f"file_name,{captions}", "a.wav,one,two,three,four,five"])
    eval_of = root / "sounddescs-1k" / "eval"
    write(eval_of / "query.parquet", [{"query-id": "1", "text": "a bell"}])
    write(
        eval_of / "corpus-00000-of-00001.parquet",
        [{"corpus-id": name, "audio_path": f"{name}.wav"} for name in ("a", "b")],
    )
    write(eval_of / "qrels.parquet", [{"query-id": "1", "corpus-id": "b", "score": 1}])
    coco = root / "speechcoco-1k"
    Image.new("RGB", (8, 8)).save(root / "p.png")
    write(coco / "eval_query.parquet", [{"id": "1", "audio": sound, "image_id": "9"}])
    write(
        coco / "eval_corpus.parquet",
        [{"corpus-id": "9", "image": {"bytes": (root / "p.png").read_bytes(), "path": ""}}],
    )
    write(
        root / "AVE" / "AVE_Dataset" / "testSet.txt",
        ["Category&VideoID&Quality&StartTime&EndTime", "Bark&v-_1&good&0&10", "Horn&v2&good&3&9"],
    )
    tut = root / "tutsound" / "TUT-sound-events-2017-development"
    tone(tut / "audio" / "street" / "a.wav", 4.0)
    events = [
        "audio/street/a.wav\tstreet\t0.0\t1.0\tcar",
        "audio/street/a.wav\tstreet\t3.0\t3.0\tcar",
        "audio/street/a.wav\tstreet\t1.0\t1.5\tchildren",
    ]
    write(tut / "evaluation_setup" / "street_fold1_evaluate.txt", events)


def read(root: Path, name: str) -> TaskData:
    (task,) = get_benchmark("mmeb-v3", root=root, tasks=name).tasks
    return task.read()


def test_190_data_sets_in_the_published_proportions() -> None:
    tasks = get_spec("mmeb-v3").tasks
    assert len(tasks) == 190
    assert [task.name for task in tasks[:78]] == [task.name for task in get_spec("mmeb-v2").tasks]
    new = Counter(task.modality for task in tasks[78:])
    assert new == {"text": 53, "agent": 47, "audio": 11, "image": 1}
    assert Counter(task.meta for task in tasks if task.modality == "agent") == {"tool": 35, "gui": 8, "memory": 4}
    assert Counter(task.meta for task in tasks if task.modality == "audio") == {
        "classification": 5,
        "retrieval": 4,
        "grounding": 2,
    }
    assert {task.metric for task in tasks if task.modality == "text"} == {"ndcg_linear@5"}
    assert {task.metric for task in tasks if task.modality in ("agent", "audio")} == {"hit@1"}
    assert all(task.source for task in tasks)
    called = [
        (task.modality, task.meta if task.modality == "agent" else "", task.leaderboard or task.name) for task in tasks
    ]
    assert len(set(called)) == 190  # no score file stands for two


def test_texts(root: Path) -> None:
    nano = read(root, "NanoBEIR_NanoArguAna")
    assert nano.corpus == (RowItem("Cats\npurr"), RowItem("Dogs bark"))
    assert [(row.query.text, row.gains, row.exclude) for row in nano.rows] == [("cats", (2.0,), ()), ("x", (1.0,), ())]
    bright = read(root, "BRIGHT_biology")
    assert bright.corpus == (RowItem("biology one"), RowItem("biology two"))
    assert [(row.query.text, row.candidates) for row in bright.rows] == [("why, biology?", (RowItem("biology two"),))]
    (row,) = read(root, "FollowIR_core17-instructions").rows
    assert (row.query.text, row.gains) == ("Only animals. cats", (2.0, 1.0))
    assert met(row.query, form="system") == (RowItem("cats"), "Only animals.")
    (row,) = read(root, "R2MED_Biology").rows
    assert row.candidates == (RowItem("purr"),)


def test_tools_and_memories(root: Path) -> None:
    tools = read(root, "Tool-apibank")
    assert [item.text for item in tools.corpus] == ['{"name": "weather", "api": "\\u00e9"}', "plays music"]
    assert [(row.query.text, row.candidates[0]) for row in tools.rows] == [
        ("Find a tool: will it rain?", tools.corpus[0])
    ]
    memory = read(root, "REALTALK")
    assert sorted(item.text for item in memory.corpus) == ["a lake", "a park", "a party"]
    assert [(row.query.text, row.candidates[0].text) for row in memory.rows] == [
        ("Find the event: which event?", "a party"),
        ("Find it: which place?", "a lake"),  # of its own corpus; the id is the same in both
    ]


def test_products_and_screens(root: Path) -> None:
    products = read(root, "MCMR")
    text = "title: Lamp 1\nfeatures: round warm\nprice: 9.5"
    (row,) = products.rows
    assert row.candidates == (RowItem(text, "image-tasks/MCMR/images/1.jpg"),)
    assert row.query.text == "Find an image-text pair that matches the given query a green lamp"
    (row,) = read(root, "GAE-GUIAct_q2s").rows
    assert (row.query.text, row.query.image) == ("open the menu", "")
    assert row.candidates == (RowItem("<|image_1|>", "gui-tasks/GUIAct/guiact/1.jpg"),)
    with pytest.raises(Unsupported, match=r"GAE-GUIAct_q2t: items of several pictures .* has 2\)"):
        read(root, "GAE-GUIAct_q2t")


def test_sounds_are_read_as_paths(root: Path) -> None:
    kinds = read(root, "ESC-50")
    assert [item.text for item in kinds.corpus] == ["dog", "rain"]
    assert kinds.rows[0].query.text == "Recognize the environmental sound category of the audio."
    assert Path(kinds.rows[0].query.audio).is_file()  # the bytes of the table
    (row,) = read(root, "UrbanSound8K").rows
    assert row.query.audio == "audio-tasks/urbansound8k/audio/fold5/7-1.wav"
    (row,) = read(root, "SpeechCommands").rows
    assert row.query.audio == "audio-tasks/speechcommand-1k/yes/1.wav"  # the other machine's path, here
    sound, instruction = met(row.query, form="system")
    assert (sound.text, instruction) == ("", "Recognize the spoken word category in the audio.")
    assert sound.audio == met(row.query, form="raw")[0].audio == row.query.audio
    clotho = read(root, "Clotho")
    assert [row.query.text.rpartition("\nQuery: ")[2] for row in clotho.rows] == ["one", "two", "three", "four", "five"]
    assert clotho.corpus == (RowItem(audio="audio-tasks/clotho/evaluation/a.wav"),)
    described = read(root, "SoundDescs")
    assert described.corpus == (RowItem(audio="audio-tasks/sounddescs-1k/b.wav"),)  # what no query has is left out
    (row,) = read(root, "SpeechCOCO").rows
    assert row.candidates[0].text == "Understand the content of the provided image."
    assert (root / row.candidates[0].image).is_file()


def test_videos_of_sounds_and_events_in_recordings(root: Path) -> None:
    ave = read(root, "AVE")
    folder = "audio-tasks/AVE/AVE_Dataset"
    assert [row.query.audio for row in ave.rows] == [
        f"{folder}/audios/v-_1_v-_1_0_10.wav",
        f"{folder}/audios/v2_v2_3_9.wav",
    ]
    assert [item.video for item in ave.corpus] == [f"{folder}/AVE/v-_1.mp4", f"{folder}/AVE/v2.mp4"]
    file = "audio-tasks/tutsound/TUT-sound-events-2017-development/audio/street/a.wav"
    first, short, children = read(root, "TUTSound").rows
    assert (first.query.audio, first.query.text.rpartition(" ")[2]) == (file, "car")
    # two cars, the short one lengthened; and what is left without an event: from 1.5 on, in steps of half a second
    assert [item.audio.partition("#t=")[2] for item in first.candidates] == [
        "0.000,1.000", "3.000,3.050", "1.000,1.500", "1.500,2.500", "2.000,3.000", "2.500,3.500", "3.000,4.000"
    ]  # fmt: skip
    assert (first.gains, children.gains) == ((1.0, 1.0), (1.0,))
    assert short.candidates == first.candidates
    strict = read(root, "TUTSound(hard)").rows
    assert [row.gains for row in strict] == [(1.0,)] * 3
    assert strict[1].candidates[0].audio == f"{file}#t=3.000,3.050"


def test_what_is_there_is_evaluated_and_the_rest_is_said(
    root: Path, nano_untouched: SentenceTransformer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate(nano_untouched, get_benchmark("mmeb-v3", root=root), progress=False)
    assert set(result.tasks) == {
        "BRIGHT_aops", "BRIGHT_biology", "R2MED_Biology", "FollowIR_core17-instructions", "NanoBEIR_NanoArguAna",
        "Tool-apibank", "GAE-GUIAct_q2s", "REALTALK", "MCMR",
    }  # fmt: skip
    kinds = Counter(failure.kind for failure in result.failed.values())
    assert kinds == {"absent": 190 - 9 - 10, "unsupported": 10}  # nine with sounds, one of several pictures
    assert "sounds" in result.failed["TUTSound"].reason
    assert {"text", "agent", "agent/tool", "text/reasoning", "overall"} <= set(result.groups())
    write_results(result, tmp_path / "out")
    assert (tmp_path / "out" / "tool" / "apibank_score.json").is_file()
    assert (tmp_path / "out" / "text" / "Biology_score.json").is_file()
    board = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert set(board["metrics"]) == {"image", "video", "visdoc", "text", "tool", "gui", "memory"}
    nano_untouched.save_pretrained(str(tmp_path / "model"))
    command = ["eval", str(tmp_path / "model"), "--benchmark", "mmeb-v3", "--root", str(root), "--device", "cpu"]
    assert main([*command, "--tasks", "MCMR,Clotho,TUTSound", "--json"]) == 0  # what a model does not take is no error
    printed = capsys.readouterr()
    assert "no score for 1 data sets (sounds, and this model takes none): Clotho" in printed.err
    assert "no score for 1 data sets (parts of longer sounds, which llave does not cut out): TUTSound" in printed.err
    assert json.loads(printed.out)["overall_with_zeros"] == pytest.approx(json.loads(printed.out)["overall"] / 3)


def test_download_from_a_copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVE_CACHE", str(tmp_path / "llave"))
    bundle = tmp_path / "hub" / "VLM2Vec" / "MMEB-V3"
    for folder in ("text_tasks", "tool_tasks", "gui_tasks", "image_tasks", "audio_tasks"):
        (bundle / folder).mkdir(parents=True)
    with tarfile.open(tmp_path / "text.tar", "w") as archive:
        archive.add(root / "text-tasks", "text-tasks")
    whole = (tmp_path / "text.tar").read_bytes()
    for part in range(2):
        half = whole[: len(whole) // 2] if part == 0 else whole[len(whole) // 2 :]
        (bundle / "text_tasks" / f"text_tasks.tar.part-00{part}").write_bytes(half)
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        archive.add(root / "image-tasks" / "MCMR" / "images", "images")
    with tarfile.open(bundle / "image_tasks" / "MCMR.tar.gz", "w:gz") as archive:
        for name in ("query.jsonl", "candidates.jsonl"):
            archive.add(root / "image-tasks" / "MCMR" / name, f"MCMR/{name}")
        archive.add(tmp_path / "images.tar.gz", "MCMR/images.tar.gz")
    shutil.copytree(root / "gui-tasks" / "GAE-GUIAct", bundle / "gui_tasks" / "GAE-GUIAct")
    with zipfile.ZipFile(bundle / "gui_tasks" / "GUIAct.zip", "w") as zipped:
        for path in (root / "gui-tasks" / "GUIAct" / "guiact").iterdir():
            zipped.write(path, f"guiact/{path.name}")
    for name in ("esc50", "clotho"):
        with tarfile.open(bundle / "audio_tasks" / f"{name}.tar", "w") as archive:
            archive.add(root / "audio-tasks" / name, name)
    names = "BRIGHT_aops,MCMR,GAE-GUIAct_q2s,ESC-50,Clotho"
    out = tmp_path / "out"
    command = ["data", "download", "mmeb-v3", "--out", str(out), "--source", str(tmp_path / "hub"), "--tasks", names]
    assert main(command) == 0
    for name in names.split(","):
        assert len(read(out, name).rows) == len(read(root, name).rows), name
    assert main(command) == 0
    (out / "text-tasks" / "BRIGHT" / "examples" / "aops-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"BRIGHT_aops: no table of configuration examples/aops"):
        read(out, "BRIGHT_aops")
