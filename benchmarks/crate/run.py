"""Speed of a training step: CRATE against the arithmetic of the original and a ViT.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/crate/run.py
    python benchmarks/crate/run.py --quick

One step is forward, cross-entropy, backward and AdamW on 128 images of 28 x 28 pixels
in patches of 4 (50 tokens), with 4 layers of 4 heads. Contestants take turns in one
process; reported are medians of the wall-clock and of the processor time, and the
median over the rounds of the ratio to the original. The second table lengthens the
rows of tokens: a layer with token statistics should take time linear in their number.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from peers import Classifier, OriginalLayer, ViTLayer
from torch import nn

from sklearn_whitebox.comparison import environment
from sklearn_whitebox.modules import CRATE, CRATEConfig, CRATELayer

SIDE, PATCH, N_LAYERS, N_HEADS, BATCH, N_OUTPUTS = 28, 4, 4, 4, 128, 10


def contestants(width):
    def ours(**settings):
        config = CRATEConfig(
            N_OUTPUTS,
            "patch",
            image_shape=(SIDE, SIDE, 1),
            patch_size=PATCH,
            d_token=width,
            n_layers=N_LAYERS,
            n_heads=N_HEADS,
            **settings,
        )
        return CRATE(config, generator=torch.Generator().manual_seed(0))

    def peer(layer):
        return Classifier(
            lambda: layer(width, N_HEADS),
            width,
            N_LAYERS,
            side=SIDE,
            patch_size=PATCH,
            n_outputs=N_OUTPUTS,
        )

    return {
        "original": peer(OriginalLayer),
        "ViT": peer(ViTLayer),
        "CRATE": ours(),
        "CRATE mean pooling": ours(pool="mean"),
        "CRATE tied, learnt steps": ours(tie_output=True, learn_step=True),
        "CRATE dropout 0.1": ours(dropout=0.1),
        "CRATE tssa": ours(attention="tssa"),
        "CRATE alpha": ours(sparsifier="odl"),
    }


def multiply_adds(name, width):
    """Count those of one image going forward, as the formulas are written."""
    n = (SIDE // PATCH) ** 2 + 1
    attention = 2 * n * width**2 + 2 * n**2 * width
    if name == "ViT":
        attention += 2 * n * width**2
    if "tssa" in name:
        attention = 2 * n * width**2
    sparse = {"ViT": 8, "CRATE alpha": 16, "original": 3}.get(name, 2)
    return N_LAYERS * (attention + sparse * n * width**2) + n * PATCH**2 * width


def measure_steps(width, threads, n_rounds, device):
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(BATCH, SIDE**2, generator=generator).to(device)
    y = torch.randint(N_OUTPUTS, (BATCH,), generator=generator).to(device)
    nets = {name: net.to(device) for name, net in contestants(width).items()}
    optimizers = {
        name: torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
        for name, net in nets.items()
    }
    wall = {name: [] for name in nets}
    processor = {name: [] for name in nets}
    for number in range(n_rounds + 2):
        for name, net in nets.items():
            arguments = (X, generator) if "dropout" in name else (X,)
            synchronize(device)
            start, busy = time.perf_counter(), time.process_time()
            optimizers[name].zero_grad(set_to_none=True)
            nn.functional.cross_entropy(net(*arguments), y).backward()
            optimizers[name].step()
            synchronize(device)
            if number >= 2:
                wall[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - busy)
    return {
        name: {
            "parameters": sum(p.numel() for p in net.parameters()),
            "wall_ms": round(1e3 * statistics.median(wall[name]), 2),
            "processor_ms": round(1e3 * statistics.median(processor[name]), 2),
            "wall_ratio": ratio(wall, name),
            "processor_ratio": ratio(processor, name),
            "images_per_second": round(BATCH / statistics.median(wall[name])),
            "gflops_per_second": round(
                6e-9
                * BATCH
                * multiply_adds(name, width)
                / statistics.median(wall[name]),
                2,
            ),
        }
        for name, net in nets.items()
    }


def ratio(times, name):
    pairs = zip(times[name], times["original"], strict=True)
    return round(statistics.median(ours / theirs for ours, theirs in pairs), 3)


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure_lengths(lengths, n_rounds, device):
    """Time one layer, forward and backward, on rows of ever more tokens."""
    torch.set_num_threads(1)
    table = {}
    for attention in ("mssa", "tssa"):
        config = CRATEConfig(
            2,
            "dense",
            n_features=1,
            d_token=64,
            n_layers=1,
            n_heads=N_HEADS,
            attention=attention,
        )
        net = CRATE(config, generator=torch.Generator().manual_seed(0))
        layer: CRATELayer = net.layers[0].to(device)
        for length in lengths:
            tokens = torch.randn(
                2, length, 64, generator=torch.Generator().manual_seed(0)
            )
            tokens = tokens.to(device).requires_grad_()
            times = []
            for _ in range(n_rounds + 1):
                synchronize(device)
                start = time.process_time() if device == "cpu" else time.perf_counter()
                layer(tokens).sum().backward()
                synchronize(device)
                end = time.process_time() if device == "cpu" else time.perf_counter()
                times.append(end - start)
            spent = statistics.median(times[1:])
            table.setdefault(attention, {})[length] = {
                "ms": round(1e3 * spent, 3),
                "microseconds_per_token": round(1e6 * spent / (2 * length), 3),
            }
            print(attention, length, table[attention][length], flush=True)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, one thread")
    parser.add_argument("--data-dir", help="not used: images are made")
    parser.add_argument("--threads", type=int, nargs="*", default=None)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    n_rounds = arguments.rounds or (3 if arguments.quick else 15)
    threads = arguments.threads or ([1] if arguments.quick else [1, 2])
    lengths = [64, 256, 1024] if arguments.quick else [64, 128, 256, 512, 1024, 2048]
    steps = {}
    for width in (64,) if arguments.quick else (64, 192):
        for n_threads in threads:
            found = measure_steps(width, n_threads, n_rounds, arguments.device)
            steps[f"width {width}, threads {n_threads}"] = found
            for name, row in found.items():
                print(width, n_threads, f"{name:26s}", row, flush=True)
    result = {
        "environment": environment(),
        "device": arguments.device,
        "rounds": n_rounds,
        "steps": steps,
        "lengths": measure_lengths(
            lengths if arguments.quick else [*lengths, 4096], n_rounds, arguments.device
        ),
    }
    name = "steps_quick.json" if arguments.quick else "steps.json"
    output = arguments.output or Path(__file__).parent / "results" / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
