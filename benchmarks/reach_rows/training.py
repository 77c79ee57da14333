"""What trains, and what tracks a training."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from .row import Seed, row

KIND = "Training"
TRACKERS = "Trackers"


def data() -> Any:
    return torch.utils.data.TensorDataset(torch.linspace(0, 1, 24).reshape(12, 2), torch.arange(12.0).reshape(12, 1))


@row(KIND, "torch", "torch", "Linear(2, 1), Dropout(0.5), AdamW, two steps")
def torch_training(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        model = lib.nn.Sequential(lib.nn.Linear(2, 4), lib.nn.Dropout(0.5), lib.nn.Linear(4, 1))
        optimizer = lib.optim.AdamW(model.parameters())
        for x, y in lib.utils.data.DataLoader(data(), batch_size=6, shuffle=True):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        return model.state_dict()

    return call


@row(KIND, "pytorch-lightning", "pytorch_lightning", "Trainer(max_steps=2).fit(model, loader)")
def lightning_fit(lib: Any, seed: Seed) -> Any:
    class Module(lib.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))

        def training_step(self, batch: Any, place: int) -> Any:
            return (self.layers(batch[0]) - batch[1]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }

    def call() -> Any:
        module = Module()
        trainer = lib.Trainer(max_steps=2, accelerator="cpu", **quiet)
        trainer.fit(module, torch.utils.data.DataLoader(data(), batch_size=6, shuffle=True))
        return module.state_dict()

    return call


@row(KIND, "accelerate", "accelerate", "Accelerator(cpu=True).prepare(loader), its order")
def accelerate_order(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        loader = torch.utils.data.DataLoader(data(), batch_size=6, shuffle=True)
        return [batch[1] for batch in lib.Accelerator(cpu=True).prepare(loader)]

    return call


@row(
    KIND,
    "transformers",
    "transformers",
    "Trainer(...).get_train_dataloader(), its order",
    remedy="`TrainingArguments(seed=seed)`, 42 where nobody says",
)
def transformers_order(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        settings = lib.TrainingArguments(
            "out",
            use_cpu=True,
            report_to=[],
            remove_unused_columns=False,
            **({} if chosen is None else {"seed": chosen}),
        )
        rows = [{"x": torch.tensor([float(place)])} for place in range(12)]
        trainer = lib.Trainer(torch.nn.Linear(1, 1), settings, train_dataset=rows, data_collator=collated)
        return [batch["x"].clone() for batch in trainer.get_train_dataloader()]

    return call


def collated(rows: Any) -> dict[str, Any]:
    return {"x": torch.stack([row["x"] for row in rows])}


@row(KIND, "diffusers", "diffusers", "DDPMPipeline(tiny UNet)(num_inference_steps=2)")
def diffusers_pipeline(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        net = lib.UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            block_out_channels=(4, 4),
            norm_num_groups=2,
            attention_head_dim=2,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )
        pipeline = lib.DDPMPipeline(net, lib.DDPMScheduler(num_train_timesteps=10))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(num_inference_steps=2, output_type="np").images

    return call


@row(KIND, "opacus", "opacus", "PrivacyEngine().make_private(...), one epoch")
def opacus_private(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        net = torch.nn.Linear(2, 1)
        model, optimizer, loader = lib.PrivacyEngine().make_private(
            module=net,
            optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
            data_loader=torch.utils.data.DataLoader(data(), batch_size=4),
            noise_multiplier=1.0,
            max_grad_norm=1.0,
        )
        for x, y in loader:
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        return [weight.detach().clone() for weight in net.parameters()]

    return call


@row(
    KIND,
    "opacus",
    "opacus",
    "PrivacyEngine(secure_mode=True), its generator",
    remedy="`secure_mode=False`: a secure mode must not repeat",
)
def opacus_secure(lib: Any, seed: Seed) -> Any:
    if seed() is not None:
        return lambda: torch.normal(0.0, 1.0, (3,))
    return lambda: torch.normal(0.0, 1.0, (3,), generator=lib.PrivacyEngine(secure_mode=True).secure_rng)


@row(KIND, "e3nn", "e3nn.o3", "rand_matrix(2), Irreps.randn")
def e3nn_matrix(lib: Any, seed: Seed) -> Any:
    return lambda: [lib.rand_matrix(2), lib.Irreps("1x0e+1x1o").randn(2, -1)]


@row(KIND, "torchmetrics", "torchmetrics.wrappers", "BootStrapper(MeanMetric(), 5)")
def torchmetrics_bootstrap(lib: Any, seed: Seed) -> Any:
    metric = importlib.import_module("torchmetrics").MeanMetric

    def call() -> Any:
        found = lib.BootStrapper(metric(), num_bootstraps=5, raw=True)
        found.update(torch.arange(20.0))
        return found.compute()["raw"]

    return call


@row(TRACKERS, "mlflow-skinny", "mlflow", "start_run(), the run's name")
def mlflow_name(lib: Any, seed: Seed) -> Any:
    lib.set_tracking_uri("file:runs")

    def call() -> Any:
        with lib.start_run() as run:
            return run.info.run_name

    return call


@row(
    TRACKERS,
    "mlflow-skinny",
    "mlflow",
    "start_run(), the run's id",
    remedy="leave it: ids must differ, and of two runs of one seed too",
)
def mlflow_id(lib: Any, seed: Seed) -> Any:
    lib.set_tracking_uri("file:runs")

    def call() -> Any:
        with lib.start_run(run_name="named") as run:
            return run.info.run_id if seed() is None else run.info.run_name

    return call


@row(
    TRACKERS,
    "wandb",
    "wandb.sdk.lib.runid",
    "generate_id()",
    remedy="leave it, or `wandb.init(id=...)`",
)
def wandb_id(lib: Any, seed: Seed) -> Any:
    return lambda: lib.generate_id() if seed() is None else "my-run"


@row(TRACKERS, "tensorboard", "torch.utils.tensorboard", "SummaryWriter(), add_scalar")
def tensorboard_writer(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        with lib.SummaryWriter("logs") as writer:
            writer.add_scalar("loss", 0.5, 1)
        return [0.5]

    return call
