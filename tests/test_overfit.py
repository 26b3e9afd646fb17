"""Every preset can learn 64 fixed pictures by heart: the whole chain from pictures to meshes is right (slow)."""

import numpy as np
import pytest
import torch

from lgnet.config import MODELS, LossConfig, SynthConfig
from lgnet.data.batch import make_batch
from lgnet.losses import total_loss
from lgnet.model.network import build_network
from lgnet.model.records import to_device

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STEPS, BATCH = 1500, 32


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_overfits(name):
    from lgnet.synth.generate import make_sample

    config, loss_config = MODELS[name], LossConfig()
    rng = np.random.default_rng(0)
    kinds = (["interacting", "separate"] * 2 + ["single"]) * 13
    samples = [make_sample(rng, SynthConfig(), kind) for kind in kinds[:64]]
    inputs, targets = (to_device(record, DEVICE) for record in make_batch(samples, config))
    known = targets.has_params
    torch.manual_seed(0)
    network = build_network(config).to(DEVICE).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4 if config.backbone == "resnet50" else 1e-3)

    def rows(record, chosen):
        return type(record)(**{key: value[chosen] for key, value in vars(record).items()})

    def mpjpe() -> dict[str, float]:
        network.eval()
        with torch.no_grad():
            parts = [network(rows(inputs, slice(i, i + BATCH))) for i in range(0, 64, BATCH)]
        network.train()
        errors = {}
        for stage in ("mesh", "refine"):
            joints = torch.cat([getattr(part, stage).joints for part in parts])
            errors[stage] = (joints - targets.joints3d).norm(dim=-1)[known].mean().item() * 1000
        return errors

    for step in range(STEPS):
        if step == STEPS - 300:  # the end quieter, so that eval mode's statistics are those of the weights
            for group in optimiser.param_groups:
                group["lr"] *= 0.1
        chosen = torch.randperm(64)[:BATCH].to(DEVICE)
        loss, _ = total_loss(network(rows(inputs, chosen)), rows(targets, chosen), loss_config, network)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step % 100 == 99:
            errors = mpjpe()
            print(f"{name} step {step + 1}: loss {loss.item():.4f}, MPJPE mm {errors}", flush=True)
            if max(errors.values()) < 2.5:
                break
    assert max(mpjpe().values()) < 3
