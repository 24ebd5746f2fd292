"""The features of a tower across steps: what is kept, what is let go, and that contents tell pictures apart."""

import torch
from transformers.modeling_outputs import BaseModelOutput

from llave.models.tower_reuse import FeatureLRU, TowerReuse, _content_keys

FEATURE_BYTES = 2 * 3 * 4
"""(2, 3) float32 per picture."""


def forward(pixel_values: torch.Tensor, scale: torch.Tensor | None = None) -> BaseModelOutput:
    feature = pixel_values.flatten(1)[:, :6].reshape(-1, 2, 3)
    return BaseModelOutput(last_hidden_state=feature if scale is None else feature * scale[:, None, None])


def pictures(number: int) -> torch.Tensor:
    return torch.randn(number, 3, 4, 4, generator=torch.Generator().manual_seed(number))


def test_the_longest_unused_are_let_go() -> None:
    lru = FeatureLRU(3 * FEATURE_BYTES)
    values = pictures(4)
    lru(forward, values[:3])
    lru(forward, values[:1])  # 0 is the newest now
    lru(forward, values[3:])  # 1 goes
    assert (len(lru), lru.hits, lru.misses) == (3, 1, 4)
    lru(forward, values[[0, 2, 3]])
    assert lru.misses == 4
    out = lru(forward, values[[1, 0, 1]])
    assert lru.misses == 5  # the same picture twice is computed once
    assert torch.equal(out.last_hidden_state, forward(values[[1, 0, 1]]).last_hidden_state)


def test_what_comes_with_a_picture_counts_too() -> None:
    lru = FeatureLRU(1 << 20)
    values, scale = pictures(2), torch.tensor([1.0, 2.0])
    lru(forward, values, scale=scale)
    out = lru(forward, values, scale=torch.tensor([1.0, 3.0]))
    assert torch.equal(out.last_hidden_state, forward(values, torch.tensor([1.0, 3.0])).last_hidden_state)
    assert (lru.hits, lru.misses) == (1, 3)


def test_keys_are_of_the_content() -> None:
    values = pictures(50)
    assert len(set(_content_keys([values]))) == 50
    assert _content_keys([values]) == _content_keys([values.clone(memory_format=torch.channels_last)])
    changed = values.clone()
    changed[:, 1, 2, 3] = changed[:, 1, 2, 3].nextafter(torch.tensor(9.0))  # the last bit of one pixel
    assert not set(_content_keys([values])) & set(_content_keys([changed]))
    assert len(set(_content_keys([torch.zeros(2, 3, dtype=torch.uint8)]))) == 1


def test_only_the_layer_that_is_read_is_kept() -> None:
    class Tower(torch.nn.Module):
        def forward(self, pixel_values: torch.Tensor) -> BaseModelOutput:
            states = tuple(pixel_values + number for number in range(5))
            return BaseModelOutput(last_hidden_state=states[-1] * 2, hidden_states=states)

    tower, values = Tower(), pictures(2)
    reuse = TowerReuse(tower, layers=-2)
    with reuse.recording("a"):
        tower(values)
    with reuse.replaying("a"):
        kept = tower(values)
    assert torch.equal(kept.hidden_states[-2], values + 3)
    assert [state is None for state in kept.hidden_states] == [True, True, True, False, True]
    assert kept.last_hidden_state is None
    assert "a" not in reuse


def test_outputs_are_kept_while_there_is_room() -> None:
    class Tower(torch.nn.Module):
        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return pixel_values * 2

    tower, values = Tower(), pictures(2)
    reuse = TowerReuse(tower, max_bytes=2 * values.nbytes)
    for key in "abcd":
        with reuse.recording(key):
            if key != "a":  # texts, or features that were there before
                tower(values)
    assert [reuse.kept(key) for key in "abcd"] == [False, True, True, False]
    with reuse.replaying("c"):
        assert torch.equal(tower(torch.ones(())), values * 2)
    assert not reuse.kept("c")
