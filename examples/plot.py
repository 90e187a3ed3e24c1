#!/usr/bin/env python3
"""Draws what a demo measured, accuracy over cost, as SVG. Standard library only.

    make demo EXAMPLE=spam ONCE=1 | tee /dev/stderr | python3 examples/plot.py spam > examples/spam/cost.svg

Reads the demo's table: the first figure of a line is the accuracy, the last one µs of CPU a row.
"""

import re
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 110, 40, 56
COMPOSED = "#c33"
SINGLE = "#346"


def read(lines):
    """(name, accuracy, µs), and the best possible accuracy."""
    points, best = [], None
    for line in lines:
        match = re.match(r"  (\S+(?: \S+)*?)  +(0\.\d+)(.*)$", line)
        if not match:
            continue
        name, accuracy = match.group(1), float(match.group(2))
        figures = re.findall(r"\d+(?:\.\d+)?", match.group(3))
        if name.startswith("best possible"):
            best = accuracy
        elif figures:
            points.append((name, accuracy, float(figures[-1])))
    return points, best


def main():
    mesh = sys.argv[1] if len(sys.argv) > 1 else ""
    points, best = read(sys.stdin)
    if not points or best is None:
        sys.exit("plot.py: got no table of a demo on standard input, want one")
    low = min(accuracy for _, accuracy, _ in points) - 0.06
    most = max(cost for _, _, cost in points) * 1.1

    def x(cost):
        return LEFT + cost / most * (WIDTH - LEFT - RIGHT)

    def y(accuracy):
        return HEIGHT - BOTTOM - (accuracy - low) / (1 - low) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f"<title>{mesh}: accuracy over cost</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fbfcfd"/>',
        f'<path d="M{LEFT} {TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}" stroke="#345" fill="none"/>',
        f'<path d="M{LEFT} {y(best):.1f} H{WIDTH - RIGHT}" stroke="#9ab" stroke-dasharray="5 4"/>',
        f'<text x="{LEFT + 8}" y="{y(best) - 6:.1f}" fill="#678">best possible, {best:.3f}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle" fill="#234">µs of CPU a row, all nodes</text>',
        f'<text x="16" y="{TOP - 14}" fill="#234">accuracy on held-out rows</text>',
    ]
    step = 0.05 if 1 - low < 0.4 else 0.1
    tick = 1.0
    while tick >= low:
        out.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#678">{tick:.2f}</text>')
        tick -= step
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if most / size < 6 or size == 5000)
    for cost in range(0, int(most) + 1, step):
        out.append(f'<text x="{x(cost):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#678">{cost}</text>')
    for name, accuracy, cost in points:
        colour = COMPOSED if name == mesh else SINGLE
        out.append(f'<circle cx="{x(cost):.1f}" cy="{y(accuracy):.1f}" r="5" fill="{colour}"/>')
        # Where the next point is close on the right, the name stands below.
        crowded = any(0 < x(other) - x(cost) < 110 and abs(y(height) - y(accuracy)) < 15 for _, height, other in points)
        place = f'x="{x(cost):.1f}" y="{y(accuracy) + 20:.1f}" text-anchor="middle"'
        if not crowded:
            place = f'x="{x(cost) + 10:.1f}" y="{y(accuracy) + 4:.1f}"'
        out.append(f'<text {place} fill="{colour}">{name}</text>')
    print("\n".join([*out, "</svg>"]))


if __name__ == "__main__":
    main()
