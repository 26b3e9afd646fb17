"""Every preset can learn 64 fixed pictures by heart: the whole chain from pictures to meshes is right (slow)."""

import math
import time

import numpy as np
import pytest
import torch

from lgnet.config import MODELS, LossConfig, SynthConfig
from lgnet.data.batch import make_batch
from lgnet.losses import total_loss
from lgnet.model.network import build_network
from lgnet.model.records import to_device
from lgnet.synth.generate import make_sample

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
COUNT = 64


def overfit(name: str, epochs: int, batch: int, peak: float, goal: float = 2.5) -> dict[str, float]:
    """MPJPE (protocol C, mm, eval mode) of M_r and M_f on the pictures learnt; the rate rises, then falls to 0.

    Every 10 epochs a line is printed; it ends early where both are below `goal`.
    """
    config, loss_config = MODELS[name], LossConfig()
    rng = np.random.default_rng(0)
    kinds = (["interacting", "separate"] * 2 + ["single"]) * 13
    samples = [make_sample(rng, SynthConfig(), kind) for kind in kinds[:COUNT]]
    inputs, targets = (to_device(record, DEVICE) for record in make_batch(samples, config))
    torch.manual_seed(0)
    network = build_network(config).to(DEVICE, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=0.0)

    def rows(record, chosen):
        return type(record)(**{key: value[chosen] for key, value in vars(record).items()})

    def mpjpe() -> dict[str, float]:
        network.eval()
        with torch.no_grad():
            parts = [network(rows(inputs, slice(i, i + 16))) for i in range(0, COUNT, 16)]
        network.train()
        errors = {}
        for stage in ("mesh", "refine"):
            joints = torch.cat([getattr(part, stage).joints for part in parts])
            errors[stage] = (joints - targets.joints3d).norm(dim=-1)[targets.has_params].mean().item() * 1000
        return errors

    steps, step, begin = epochs * COUNT // batch, 0, time.monotonic()
    for epoch in range(epochs):
        for chosen in torch.randperm(COUNT).to(DEVICE).split(batch):
            up, down = min(1.0, (step + 1) / (0.05 * steps)), 0.5 + 0.5 * math.cos(math.pi * step / steps)
            for group in optimiser.param_groups:
                group["lr"] = peak * up * down
            loss, _ = total_loss(network(rows(inputs, chosen)), rows(targets, chosen), loss_config, network)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
        if epoch % 10 == 9:
            errors = mpjpe()
            said = f"{name} epoch {epoch + 1}: loss {loss.item():.4f}, MPJPE mm {errors}"
            print(f"{said}, {time.monotonic() - begin:.0f} s", flush=True)
            if max(errors.values()) < goal:
                break
    return mpjpe()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_overfits(name):
    peak = 3e-4 if MODELS[name].backbone == "resnet50" else 1e-3
    assert max(overfit(name, epochs=400, batch=16, peak=peak).values()) < 3
