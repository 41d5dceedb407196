import torch

from atviz.attacks.lbfgs import PAIRS, QuasiNewton


def test_it_is_torchs_for_one_image(seeded):
    # on a problem whose curvature is positive from the first step on
    target = torch.randn(1, 2, 6, 6, generator=seeded(), dtype=torch.float64)
    scales = torch.rand(1, 2, 6, 6, generator=seeded(1), dtype=torch.float64) + 1
    gradient = lambda u: 10 * scales * (u - target)
    ours, quasi_newton = torch.zeros_like(target), QuasiNewton()
    theirs = torch.zeros_like(target).requires_grad_()
    optimizer = torch.optim.LBFGS([theirs], lr=0.5, max_iter=8, history_size=PAIRS)

    def closure():
        theirs.grad = gradient(theirs.detach())
        return (5 * scales * (theirs.detach() - target) ** 2).sum()

    for _ in range(8):
        ours = ours - 0.5 * quasi_newton.direction(ours, gradient(ours))
    optimizer.step(closure)
    torch.testing.assert_close(ours, theirs.detach())
    assert (ours - target).norm() < 0.2 * target.norm()
