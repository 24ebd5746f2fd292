"""Scores of pairs: as ``CrossEncoder.predict`` has them, alone as in a batch, and a bad item costs its own pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import CrossEncoder
from transformers import AutoProcessor, BertConfig, BertForSequenceClassification, BertTokenizerFast

from llave import Item, Refused
from llave.encode.item import Reading
from llave.errors import UserError
from llave.rerank.reranker import Reranker
from tests.rerank.tiny_rerankers import qwen3_vl_reranker


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen3_vl_reranker(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def qwen(raw: Path) -> Reranker:
    return Reranker.open(raw, device="cpu", batch_size=4)


def mixed() -> list[tuple[Item, Item]]:
    texts = [Item("red fox"), Item("a much longer text about a fox that is red and quick"), Item("photo.png")]
    pictures = [Item(image=picture(1)), Item(image=picture(2, (96, 64))), Item("a fox", image=picture(3))]
    film = Item("running", video=None, image=None)
    return [(query, document) for query in (*texts, pictures[0], film) for document in (*pictures, texts[0])]


def test_scores_are_those_of_predict(qwen: Reranker, tmp_path: Path) -> None:
    """Alone, in a batch of all sorts, and by sentence-transformers itself from a saved directory."""
    pairs = mixed()
    together = qwen.pairs(pairs)
    alone = [qwen(query, [document])[0] for query, document in pairs]
    assert together == pytest.approx(alone, abs=2e-6)
    assert len({round(float(score), 6) for score in together}) > len(pairs) // 2
    qwen.model.save_pretrained(str(tmp_path / "model"))
    plain = CrossEncoder(str(tmp_path / "model"), device="cpu")
    inputs = [[item.load(Reading()) for item in pair] for pair in pairs]
    assert plain.predict(inputs, batch_size=3).tolist() == pytest.approx(alone, abs=2e-6)
    assert qwen.score_inputs([(query, document) for query, document in inputs]) == pytest.approx(alone, abs=2e-6)


def test_a_pair_is_laid_out_as_the_model_was_trained(qwen: Reranker) -> None:
    """Qwen3-VL-Reranker's own words, and a picture's tokens where it stands."""
    tokenizer: Any = qwen.model.tokenizer
    features = qwen.model.preprocess([("find it", {"image": picture(1), "text": "a fox"})])
    shown = tokenizer.decode(features["input_ids"][0]).replace("<|image_pad|>", "")
    assert shown == (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a '
        "search query, retrieve relevant candidates that answer the query.<Query>:find it\n<Document>:"
        "<|vision_start|><|vision_end|>a fox<|im_end|>\n<|im_start|>assistant\n"
    )
    told = qwen.model.preprocess([("find it", "a fox")], prompt="Find the animal.")
    assert "<Instruct>: Find the animal.<Query>:find it" in tokenizer.decode(told["input_ids"][0])


def test_a_bad_item_costs_its_pairs_alone(qwen: Reranker, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken, gone, empty = Item(image=tmp_path / "broken.png"), Item(image=tmp_path / "gone.png"), Item("")
    sound = Item(audio=tmp_path / "one.wav")
    good = Item("red fox")
    seen: list[int] = []
    documents = [good, broken, Item(image=picture(1)), gone, empty, sound]
    scores = qwen.pairs([(good, document) for document in documents], advance=seen.append)
    assert [isinstance(score, Refused) for score in scores] == [False, True, False, True, True, True]
    assert "broken.png" in str(scores[1])
    assert "gone.png" in str(scores[3])
    assert "takes none" in str(scores[5])
    assert sum(seen) == len(documents)
    assert [scores[0], scores[2]] == pytest.approx(qwen(good, [documents[0], documents[2]]), abs=2e-6)


def test_long_texts_are_cut_inside_the_template(raw: Path) -> None:
    """The longer text loses its end; the question, the picture and the template's last words stay."""
    reranker = Reranker.open(raw, device="cpu")
    reranker.model.max_seq_length = 420
    pair = ("which fox is it?", {"image": picture(1), "text": "red fox " * 5000})
    features = reranker.model.preprocess([pair])
    shown = reranker.model.tokenizer.decode(features["input_ids"][0])
    assert features["attention_mask"].sum() <= 420
    assert "<Query>:which fox is it?" in shown
    assert shown.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert reranker.model.cuts.texts == 1


def test_what_is_no_reranker_is_refused(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        Reranker.open("./nothing")
    with pytest.raises(UserError, match="no model here"):
        Reranker.open(tmp_path)
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config_sentence_transformers.json").write_text('{"model_type": "SentenceTransformer"}')
    with pytest.raises(UserError, match="an embedding model"):
        Reranker.open(tmp_path)
    processor = AutoProcessor.from_pretrained(raw)
    assert processor.chat_template != Reranker.open(raw, device="cpu").model[0].processor.chat_template


def test_a_reranker_of_texts_alone(tmp_path: Path) -> None:
    """An ordinary CrossEncoder: its tokenizer cuts, and a picture is refused with a reason."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "fox", "blue", "whale"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=32)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForSequenceClassification(
        BertConfig(**sizes, vocab_size=len(words), num_labels=1, max_position_embeddings=32)
    ).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    reranker = Reranker.open(tmp_path / "model", device="cpu")
    assert reranker.modalities == ("text",)
    documents = [Item("red fox"), Item("blue whale " * 40), Item(image=picture(1))]
    scores = reranker(Item("fox"), documents)
    wanted = CrossEncoder(str(tmp_path / "model"), device="cpu").predict([("fox", one.words) for one in documents[:2]])
    assert scores[:2] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert "takes none" in str(scores[2])
