"""The networks and the training runs that have names: `lgnet train PRESET`; the options are those of config.py."""

from __future__ import annotations

from dataclasses import replace

from .config import ModelConfig, SideConfig, SynthConfig, TrainConfig

_MOBILE = ModelConfig(
    backbone="mobile",
    mobile_depths=(2, 4, 10, 3),
    separation="crops",
    crop_size=160,
    grid=10,
    channels=128,
    heatmap_size=40,
    joint_channels=128,
    sjt_depth=2,
    sjt_heads=4,
    refine_channels=32,
)

MODELS: dict[str, ModelConfig] = {
    "lgnet": ModelConfig(),
    "lgnet-light": ModelConfig(channels=256),
    "lgnet-mobile": _MOBILE,
    "lgnet-mobile-heads": replace(_MOBILE, separation="heads", crop_size=256, grid=8, heatmap_size=16),
    "hands": replace(_MOBILE, lgblock=False, refine_stage=False, dense_head=True),
}
"""`hands` is what most of the training is done with: the crops network without its LGBlock and refine stage, which is
faster, and with the dense head."""

_PEOPLE = SynthConfig(
    kinds=(0.4, 0.2, 0.37, 0.03),
    everyday=0.8,
    signs=0.4,
    gestures=0.4,
    wrist_bend=35.0,
    bank=0.6,
    people=0.5,
    held=0.3,
    places=0.5,
    toned=0.8,
    lens=0.2,
    looks=0.8,
    fill=(0.42, 0.9),
)
"""What the hand networks train on."""

PRESETS: dict[str, TrainConfig] = {
    "lgnet": TrainConfig(model=MODELS["lgnet"], out="runs/lgnet", learning_rate=1e-4, synth=_PEOPLE),
    "lgnet-light": TrainConfig(model=MODELS["lgnet-light"], out="runs/lgnet-light", learning_rate=1e-4, synth=_PEOPLE),
    "lgnet-mobile": TrainConfig(
        model=MODELS["lgnet-mobile"], out="runs/lgnet-mobile", synth=_PEOPLE, optimiser="muon", learning_rate=7e-4
    ),
    "lgnet-mobile-heads": TrainConfig(model=MODELS["lgnet-mobile-heads"], out="runs/lgnet-mobile-heads", synth=_PEOPLE),
    "hands": TrainConfig(model=MODELS["hands"], out="runs/hands", synth=_PEOPLE, optimiser="muon", learning_rate=7e-4),
    "detector": TrainConfig(
        task="detector",
        out="runs/detector",
        synth=SynthConfig(
            size=224,
            kinds=(0.42, 0.2, 0.28, 0.1),
            fill=(0.08, 1.25),
            gestures=0.4,
            wrist_bend=35.0,
            bank=0.5,
            people=0.6,
            held=0.3,
            places=0.5,
            toned=0.8,
            lens=0.2,
            looks=0.8,
            full_frame=True,
        ),
    ),
    "sides": TrainConfig(
        task="sides",
        side=SideConfig(crop_size=160, grid=10, depths=(2, 4, 10, 3)),
        out="runs/sides",
        synth=replace(_PEOPLE, kinds=(0.38, 0.2, 0.39, 0.03), signs=0.35, fill=(0.3, 0.95)),
    ),
    "pair": TrainConfig(
        task="pair",
        out="runs/pair",
        synth=replace(_PEOPLE, kinds=(0.6, 0.2, 0.18, 0.02), signs=0.35, fill=(0.3, 0.95)),
    ),
}
