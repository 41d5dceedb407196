"""Saliency beside captum with its best chunk, and the error of bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from atviz import models, saliency

from .measure import OURS, Case, best_of, have

CHUNKS = (5, 10, 25, 50, 100)  # captum's, of which the fastest is taken


def fastest(calls: dict[int, Callable[[], Tensor]]) -> tuple[int, Callable[[], Tensor]]:
    """The chunk at which captum is fastest, and the call."""
    took = {chunk: best_of(call, 2) for chunk, call in calls.items()}
    chunk = min(took, key=lambda key: took[key])
    return chunk, calls[chunk]


def network(arch: str, side: int) -> nn.Module:
    torch.manual_seed(0)
    return models.build(arch, num_classes=10, image_size=side, mean=[0.5] * 3, std=[0.25] * 3).eval()


def cases(turns: int) -> Iterator[Case]:
    if not have("captum"):
        return
    from captum.attr import GuidedBackprop, IntegratedGradients, NoiseTunnel, Saliency

    for arch, side, n in [("resnet18-w16", 32, 10), ("resnet18", 224, 1)]:
        net = network(arch, side)
        x = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
        y, shape = net(x).argmax(1).detach(), f"{n} × 3 × {side} × {side}, {arch}"

        def log_prob(images: Tensor, net: nn.Module = net) -> Tensor:
            return net(images).log_softmax(1)

        tunnel, path, guided = NoiseTunnel(Saliency(log_prob)), IntegratedGradients(net, multiply_by_inputs=False), GuidedBackprop(net)
        chunk, smooth = fastest(
            {
                c: lambda c=c, x=x, y=y, tunnel=tunnel: tunnel.attribute(
                    x, nt_type="smoothgrad", nt_samples=100, nt_samples_batch_size=c, stdevs=0.1, target=y, abs=False
                )
                for c in CHUNKS
                if c * side * side <= 2**21
            }
        )

        def near(results: dict[str, Tensor]) -> str:
            a, b = (t.flatten().double() for t in results.values())
            cosine = float(a @ b / a.norm() / b.norm())
            assert cosine > 0.5, cosine  # other noise
            return f"cosine of the maps {cosine:.2f} (other noise)"

        def equal(results: dict[str, Tensor]) -> str:
            a, b = results.values()
            error = float((a - b).norm() / b.norm())
            # gradients of an untrained network on noise: in bfloat16 they differ several times more than those of a trained one, see `bf16_error`
            assert error < (0.2 if models.bf16_is_faster(torch.device("cpu")) else 1e-2), error
            return f"relative difference {error:.0e}"

        def passes(net: nn.Module = net, x: Tensor = x, y: Tensor = y) -> Tensor:
            return saliency.grad(net, x, y, score="logit")

        yield Case(
            "SmoothGrad, 100 copies", f"{shape}; captum's chunk {chunk}", n, "maps",
            {OURS: lambda net=net, x=x, y=y: saliency.smooth_grad(net, x, y, n=100), "captum": smooth}, near, turns, passes, 100,
        )  # fmt: skip
        mean = saliency.gradients.mean_image(net, x).expand_as(x)
        chunk, along = fastest(
            {
                c: lambda c=c, x=x, y=y, mean=mean, path=path: path.attribute(
                    x, mean, target=y, n_steps=50, method="riemann_left", internal_batch_size=max(c, len(x))
                )
                for c in CHUNKS
                if c * side * side <= 2**21
            }
        )
        yield Case(
            "Integrated Gradients, 50 steps", f"{shape}; captum's chunk {chunk}", n, "maps",
            {OURS: lambda net=net, x=x, y=y: saliency.integrated_gradients(net, x, y), "captum": along}, equal, turns, passes, 50,
        )  # fmt: skip
        if side == 32:  # the networks of torchvision use one ReLU module twice, which captum's hooks do not see as two
            net = nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
                nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
            ).eval()  # fmt: skip
            arch = "three convolutions"
        else:
            import torchvision

            net = torchvision.models.vgg11_bn(num_classes=10).eval()
            for module in net.modules():
                if isinstance(module, nn.ReLU):
                    module.inplace = False  # captum's hooks need it
            arch = "vgg11_bn"
        guided = GuidedBackprop(net)
        x = torch.rand(100 if side == 32 else 4, 3, side, side, generator=torch.Generator().manual_seed(0))
        y = torch.zeros(len(x), dtype=torch.int64)
        yield Case(
            "Guided Backprop", f"{len(x)} × 3 × {side} × {side}, {arch}", len(x), "maps",
            {
                OURS: lambda net=net, x=x, y=y: saliency.guided_backprop(net, x, y),
                "captum": lambda guided=guided, x=x, y=y: guided.attribute(x.clone().requires_grad_(), target=y).detach(),
            },
            equal, turns, lambda net=net, x=x, y=y: saliency.grad(net, x, y, score="logit"),
        )  # fmt: skip


def bf16_error(subject: object) -> str:
    """How far maps in bfloat16 are from those in fp32, on the networks of the zoo: medians over 50 images."""
    lines = []
    for role, net in subject.networks.items():  # type: ignore[attr-defined]
        x, y = next(subject.test[:50].batches(50))  # type: ignore[attr-defined]
        for name, method, options in [
            ("SmoothGrad, 100 copies", saliency.smooth_grad, {"n": 100}),
            ("Integrated Gradients, 50 steps", saliency.integrated_gradients, {}),
        ]:
            exact, rounded = (method(net, x, y, bf16=bf16, **options) for bf16 in (False, True))
            error = ((exact - rounded).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).median()
            rank = saliency.similarity(exact, rounded)["rank"].median()
            lines.append(f"| {name} | {role} | {float(error):.1%} | {float(rank):.4f} |")
    return "\n".join(["| map | network | relative error (L2) | rank correlation with fp32 |", "|---|---|--:|--:|", *lines])
