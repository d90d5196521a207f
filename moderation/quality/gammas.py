"""Gamma distributions, alone and two of them mixed: bounds of weighted sums of few. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gamma:
    """A gamma distribution; all at 0 if that is its mean."""

    mean: float
    variance: float

    def quantile(self, p: float) -> float:
        """Below which a share p of it lies."""
        from scipy.special import gammaincinv

        if not self.mean:
            return 0.0
        return float(gammaincinv(self.mean**2 / self.variance, p)) * self.variance / self.mean

    def cdf(self, value: float) -> float:
        """The share of it that lies below a value."""
        from scipy.special import gammainc

        if not self.mean:
            return 1.0
        return float(gammainc(self.mean**2 / self.variance, value * self.mean / self.variance))


def of_either(below: Gamma, above: Gamma, p: float) -> float:
    """The quantile of what is drawn from one or the other, evenly."""
    from scipy.optimize import brentq

    least, most = sorted((below.quantile(p), above.quantile(p)))

    def beyond(value: float) -> float:
        return below.cdf(value) + above.cdf(value) - 2 * p

    # Beyond at once where one of them is all at 0, or both are the same but for rounding.
    return least if beyond(least) >= 0 or beyond(most) <= 0 else float(brentq(beyond, least, most))
