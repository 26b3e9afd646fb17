"""Every preset can learn 64 fixed pictures by heart: the whole chain from pictures to meshes is right (slow)."""

import time

import numpy as np
import pytest
import torch

from lgnet.config import LossConfig, SynthConfig
from lgnet.data.batch import make_batch
from lgnet.losses import total_loss
from lgnet.model.network import build_network
from lgnet.model.records import to_device
from lgnet.presets import MODELS
from lgnet.synth.generate import make_sample

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
COUNT = 64


def overfit(
    name: str, epochs: int, backbone_epochs: int, batch: int, peak: float, goal: float = 2.5
) -> dict[str, float]:
    """MPJPE (protocol C, mm, eval mode) of M_r and M_f on the pictures learnt; it ends early where both are below `goal`.

    The rate falls linearly to 0. After `backbone_epochs` the backbone is held still and its maps of the 64 pictures are
    kept, which saves most of the time on a processor: everything after it is trained to the end. BatchNorm uses the
    pictures' running statistics from half of that time on, as it will when judged.
    """
    config, loss_config = MODELS[name], LossConfig()
    rng = np.random.default_rng(0)
    kinds = (["interacting", "separate"] * 2 + ["single"]) * 13
    samples = [make_sample(rng, SynthConfig(), kind) for kind in kinds[:COUNT]]
    inputs, targets = (to_device(record, DEVICE) for record in make_batch(samples, config))
    torch.manual_seed(0)
    network = build_network(config).to(DEVICE, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=0.0, betas=(0.9, 0.95), fused=True)
    live, kept = network.features, None

    def rows(record, chosen):
        return type(record)(**{key: value[chosen] for key, value in vars(record).items()})

    def forward(chosen):
        if kept is not None:
            network.features = lambda _: [x[chosen] for x in kept]
        return network(rows(inputs, chosen))

    def mpjpe() -> dict[str, float]:
        network.eval()
        with torch.no_grad():
            parts = [forward(slice(i, i + 8)) for i in range(0, COUNT, 8)]
        errors = {}
        for stage in ("mesh", "refine"):
            joints = torch.cat([getattr(part, stage).joints for part in parts])
            errors[stage] = (joints - targets.joints3d).norm(dim=-1)[targets.has_params].mean().item() * 1000
        return errors

    steps, step, begin = epochs * COUNT // batch, 0, time.monotonic()
    for epoch in range(epochs):
        if epoch == backbone_epochs:
            network.eval()
            with torch.no_grad():
                maps = [live(rows(inputs, slice(i, i + 8))) for i in range(0, COUNT, 8)]
            kept = [torch.cat(level) for level in zip(*maps)]
            network.backbone.requires_grad_(False)
        network.train()
        if 2 * epoch >= backbone_epochs:
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        for chosen in torch.randperm(COUNT).to(DEVICE).split(batch):
            for group in optimiser.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / (0.04 * steps)) * (1 - step / steps)
            loss, _ = total_loss(forward(chosen), rows(targets, chosen), loss_config, network)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
        if epoch % 5 == 4:
            errors = mpjpe()
            said = f"{name} epoch {epoch + 1}: loss {loss.item():.4f}, MPJPE mm {errors}"
            print(f"{said}, {time.monotonic() - begin:.0f} s", flush=True)
            if max(errors.values()) < goal:
                break
    return mpjpe()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs", "backbone_epochs", "peak"),
    [("lgnet-mobile", 200, 50, 1.5e-3), ("lgnet-light", 180, 15, 3e-4), ("lgnet", 170, 6, 3e-4)],
)
def test_overfits(name, epochs, backbone_epochs, peak):
    assert max(overfit(name, epochs, backbone_epochs, batch=8, peak=peak).values()) < 3
