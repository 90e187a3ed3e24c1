"""Clicks with a structure that the model does not see: what shows them is drawn from Zipf's law, as in life.

Every id of every table has a taste, a vector of four numbers near that of one of eight groups. How likely a click is
comes from what tastes say together, of the item and of those seen before it, and from numbers of the moment. Whether
there is one is left to chance: nobody can be right about all.
"""

import numpy as np

NUMBERS = 13
TASTE = 4
GROUPS = 8
SEEN = 8  # items seen before, at most; 0 where there is none

# Rows of each table: users, items, sites, and what else is known of the moment.
SIZES = [200_000, 150_000, 100_000, 20_000, 12_000, 8_000, 5_000, 3_000, 2_000, 1_500, 1_000, 800, 600]
SIZES += [500, 400, 300, 250, 200, 150, 120, 100, 80, 60, 50, 40, 30]
USERS, ITEMS = 0, 1
PAIRS = [(0, 1), (0, 3), (1, 4), (2, 3), (5, 6), (7, 8)]
SKEW = 1.1


class World:
    """The same for all seeds: who has which taste."""

    def __init__(self):
        random = np.random.default_rng(1)
        self.tastes, self.popular, self.weight = [], [], []
        for size in SIZES:
            centres = random.standard_normal((GROUPS, TASTE)) * 0.9
            tastes = centres[random.integers(0, GROUPS, size)] + 0.25 * random.standard_normal((size, TASTE))
            self.tastes.append(tastes.astype(np.float32))
            share = 1.0 / np.arange(1, size + 1) ** SKEW
            self.popular.append(np.cumsum(share) / share.sum())
            self.weight.append((random.standard_normal(TASTE) * 0.35).astype(np.float32))
        self.number_weight = (random.standard_normal(NUMBERS) * 0.2).astype(np.float32)

    def ids(self, random, table, shape):
        ids = np.searchsorted(self.popular[table], random.random(shape)).astype(np.int64)
        return np.minimum(ids, SIZES[table] - 1)

    def clicks(self, seed, count):
        """numbers float32[count, NUMBERS], ids int64[count, tables], seen int64[count, SEEN], clicked bool[count], odds."""
        random = np.random.default_rng(seed)
        numbers = random.standard_normal((count, NUMBERS)).astype(np.float32)
        ids = np.stack([self.ids(random, table, count) for table in range(len(SIZES))], axis=1)
        # Item 0 stands for none.
        ids[:, ITEMS] = np.maximum(ids[:, ITEMS], 1)
        seen = np.maximum(self.ids(random, ITEMS, (count, SEEN)), 1)
        seen *= np.arange(SEEN) < random.integers(0, SEEN + 1, count)[:, None]
        odds = numbers @ self.number_weight + 0.3 * numbers[:, 0] * numbers[:, 1] - 1.0
        tastes = [self.tastes[table][ids[:, table]] for table in range(len(SIZES))]
        for taste, weight in zip(tastes, self.weight):
            odds += 0.5 * (taste @ weight)
        for one, other in PAIRS:
            odds += 0.45 * (tastes[one] * tastes[other]).sum(axis=1)
        there = (seen > 0)[:, :, None]
        before = (self.tastes[ITEMS][seen] * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        odds += 0.7 * (before * tastes[ITEMS]).sum(axis=1)
        clicked = random.random(count) < 1 / (1 + np.exp(-odds))
        return numbers, ids, seen, clicked, odds


def auc(score, clicked):
    """The share of pairs, one clicked and one not, that `score` puts in order."""
    order = np.argsort(score, kind="stable")
    sorted_score = score[order]
    # Equal scores share their ranks.
    _, first, counts = np.unique(sorted_score, return_index=True, return_counts=True)
    ranks = np.repeat(first + (counts + 1) / 2, counts)
    positive = clicked[order]
    hits, misses = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))
