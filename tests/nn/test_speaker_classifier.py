"""Margin softmax against its formula, and the network that is trained with it."""

import math

import pytest
import torch
from torch.nn import functional as F

from sklearn_speechsent.nn import AAMSoftmax, SpeakerClassifierNetwork, SpeakerResNet

SMALL = {"n_mels": 12, "widths": (4, 8), "depths": (1, 1)}


@pytest.mark.parametrize(("margin", "scale"), [(0.2, 32.0), (0.5, 1.0), (0.0, 10.0)])
def test_loss_is_the_written_formula(margin, scale):
    head = AAMSoftmax(5, 4, margin, scale).double()
    x, speakers = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 4
    losses = head.loss(x, speakers)
    assert losses.shape == (7,)
    for embedding, speaker, loss in zip(x, speakers, losses, strict=True):
        angles = [
            math.acos(float(F.cosine_similarity(embedding, direction, dim=0)))
            for direction in head.directions.detach()
        ]
        assert angles[speaker] < math.pi - margin  # where the formula is cos(angle + margin)
        logits = [scale * math.cos(angle) for angle in angles]
        logits[speaker] = scale * math.cos(angles[speaker] + margin)
        expected = math.log(sum(math.exp(logit) for logit in logits)) - logits[speaker]
        assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_length_of_an_embedding_does_not_count():
    head = AAMSoftmax(5, 3)
    x, speakers = torch.randn(4, 5), torch.tensor([0, 2, 1, 1])
    torch.testing.assert_close(head.loss(7 * x, speakers), head.loss(x, speakers))


def test_loss_falls_all_the_way_towards_the_speaker():
    """Also from behind, where cos(angle + margin) itself would rise, and with a finite slope."""
    head = AAMSoftmax(2, 2, margin=0.5, scale=4.0)
    head.directions.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    angles = torch.linspace(math.pi, 0, 50)
    # The other speaker at the same angle on the other side, to leave one thing that changes.
    own = torch.stack([angles.cos(), -angles.sin()], dim=1).requires_grad_()
    logits = [head.loss(own[k : k + 1], torch.tensor([0])) for k in range(50)]
    losses = torch.cat(logits)
    harder = F.linear(own, head.directions)[:, 1].detach()
    gap = losses.detach().expm1().log() / -4.0 + harder  # the logit of the own speaker
    assert (gap.diff() > 0).all()
    losses.sum().backward()
    assert own.grad.isfinite().all()


def test_perfect_embeddings_have_finite_gradients():
    head = AAMSoftmax(3, 3)
    x = head.directions.detach().clone().requires_grad_()
    head.loss(x, torch.arange(3)).sum().backward()
    assert x.grad.isfinite().all() and head.directions.grad.isfinite().all()


def test_loss_is_computed_in_float32():
    head = AAMSoftmax(4, 3)
    x = torch.randn(5, 4).bfloat16()
    assert head.loss(x, torch.zeros(5, dtype=torch.long)).dtype == torch.float32


def test_network_is_the_embedder_until_the_loss():
    net = SpeakerClassifierNetwork(3, 6, **SMALL).eval()
    x, lengths = torch.randn(2, 9, 12), torch.tensor([9, 4])
    out = net(x, lengths)
    assert list(out) == ["speaker"] == list(net.heads)
    torch.testing.assert_close(out["speaker"], net.embedder(x, lengths))
    torch.testing.assert_close(net(x.double(), lengths)["speaker"], out["speaker"])
    assert net.heads["speaker"].directions.shape == (3, 6)


def test_embedder_has_the_layout_of_the_resnet():
    net = SpeakerClassifierNetwork(3, 6, se_ratio=None, **SMALL)
    plain = SpeakerResNet(6, se_ratio=None, **SMALL)
    assert net.embedder.architecture == plain.architecture
    assert list(net.embedder.state_dict()) == list(plain.state_dict())


def test_larger_network_is_the_papers():
    """Doubled widths, for the fused embedding."""
    with torch.device("meta"):
        plain = SpeakerClassifierNetwork(2, 256).embedder
        wide = SpeakerClassifierNetwork(2, 512, widths=(64, 128, 256, 512)).embedder
    sizes = [sum(p.numel() for p in net.layer1.parameters()) for net in (plain, wide)]
    assert 3.9 < sizes[1] / sizes[0] < 4.1
    assert wide.seg_1.in_features == 2 * 512 * 10 and wide.seg_1.out_features == 512


def test_padding_changes_no_training_step():
    x, speakers = torch.randn(4, 20, 12, dtype=torch.float64), torch.arange(4) % 3
    lengths = torch.tensor([20, 3, 7, 12])
    gradients = []
    for n_padding in (0, 9):
        torch.manual_seed(1)
        net = SpeakerClassifierNetwork(3, 6, **SMALL).double()
        padded = torch.cat([x, x.new_full((4, n_padding, 12), torch.nan)], dim=1)
        out = net(padded, lengths)["speaker"]
        net.heads["speaker"].loss(out, speakers).sum().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, atol=1e-6, rtol=1e-6, msg=name)
