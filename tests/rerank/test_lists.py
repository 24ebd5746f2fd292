"""Lists: every right answer is kept out of the negatives, own negatives first, and the same draw from the same seed."""

from pathlib import Path

import pytest
import torch

from llave.data.corpus import Corpus
from llave.errors import UserError
from llave.rerank.config import NegativesConfig, RankLossConfig, RerankConfig
from llave.rerank.lists import ListCollator, Lists
from llave.rerank.losses import listwise
from llave.training.row_errors import RowErrors, read_row_errors
from llave.training.tables import open_tables
from tests.rerank.folder import COLOURS, write_folder


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    folder = write_folder(tmp_path / "data")
    return Corpus({name: table for name, (_, table) in open_tables(folder, {}).items()})


def test_a_list_has_its_positive_its_own_negatives_and_others(corpus: Corpus) -> None:
    lists = Lists(corpus, NegativesConfig(own=2, random=3), seed=1)
    assert len(lists) == len(COLOURS)  # two rows of one query and one positive are one list
    for number in range(len(lists)):
        drawn = lists.draw(number, step=5)
        assert drawn == lists.draw(number, step=5)
        table = corpus.tables[drawn.name]
        images = [getattr(table[row], column).image for row, column in drawn.documents]
        assert len(images) == len(set(images)) == 6
        assert images[0] == table[drawn.row].positive.image
        assert [column for _, column in drawn.documents[:3]] == ["positive", "negative", "negative"]
    assert any(lists.draw(0, step=5) != lists.draw(0, step=step) for step in range(6, 9))


def test_weights_draw_a_share(corpus: Corpus) -> None:
    for weight, number in ((0.5, len(COLOURS) // 2), (2.0, 2 * len(COLOURS)), (0.0, 0)):
        assert len(Lists(corpus, NegativesConfig(), weights={"colours": weight})) == number


def test_a_broken_document_costs_itself(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "data/images/blue.png").write_bytes(b"broken")
    lists = Lists(corpus, NegativesConfig(own=2, random=5))
    batch = ListCollator(lists, flat=False, errors=RowErrors(tmp_path / "errors.jsonl"))(
        [{"row": row} for row in range(len(lists))]
    )
    assert len(batch["query"]) == len(lists)
    assert "Find: blue" not in batch["query"]
    assert {len(found) for found in batch["documents"]} == {len(COLOURS) - 1}
    assert all(label[0] == 1 and label.sum() == 1 for label in batch["label"])
    assert any("blue.png" in reason for reason in read_row_errors(tmp_path / "errors.jsonl").values())


def test_flat_pairs(tmp_path: Path, corpus: Corpus) -> None:
    lists = Lists(corpus, NegativesConfig(own=1, random=1))
    batch = ListCollator(lists, flat=True, errors=RowErrors(tmp_path / "errors.jsonl"))([{"row": 0}, {"row": 1}])
    assert batch["label"].tolist() == [1, 0, 0, 1, 0, 0]
    assert len(batch["query"]) == len(batch["document"]) == 6


def test_listwise_is_the_cross_entropy_of_the_first() -> None:
    scores = [torch.tensor([2.0, 1.0, 0.5]), torch.tensor([0.0, 3.0])]
    wanted = [torch.nn.functional.cross_entropy(2 * one[None], torch.tensor([0])) for one in scores]
    assert listwise(scores, scale=2.0) == pytest.approx(float(torch.stack(wanted).mean()))


def test_recipes_refuse_nonsense(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="negatives"):
        NegativesConfig(own=0, random=0)
    with pytest.raises(UserError, match="scale"):
        RankLossConfig(scale=0)
    with pytest.raises(UserError, match="learning_rate"):
        RerankConfig(data=tmp_path, output=tmp_path, learning_rate=0)
