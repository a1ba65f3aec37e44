"""What `spti plan --recommend` prints for people: schedules in a table, and how to take the best one over."""

from __future__ import annotations

from spti_ray.io.text_table import Column, text_table
from spti_ray.planning.plan import WORKABLE_SIGNAL
from spti_ray.planning.recommend import SURVIVORS, Recommendation, levels_of
from spti_ray.planning.vote_model import POPULAR


def recommendation_lines(found: Recommendation) -> list[str]:
    """The recommendation for people: a table, what its columns mean, and how to take it over."""
    best = found.best
    hours = sorted({role for option in found.options for role in option.engine_hours or {}})
    asked = ("candidates", "themes", "generations", "votes")
    figures = (*asked, "sigma", "signal", "gain kept", f"{POPULAR:g}x survives")
    headings = (*figures, "texts", "renders", *(f"{role} h" for role in hours))
    columns = (Column(), *(Column(heading, is_number=True) for heading in headings))
    rows = [
        (
            option.name,
            str(option.candidates),
            _in_short(option.themes),
            str(option.generations),
            str(option.votes_per_record),
            f"{option.sigma:.2f}",
            f"{option.signal:.2f}",
            f"{100 * option.gain_kept:.0f} %",
            f"{100 * option.popular_survives:.0f} %",
            str(option.texts),
            str(option.renders),
            *(f"{(option.engine_hours or {}).get(role, 0):.2f}" for role in hours),
        )
        for option in found.options
    ]
    lines = [
        f"For about {found.private_records} private records, as stated publicly:",
        "",
        *text_table(columns, rows),
        "",
        "signal        votes of an average theme, or candidate, over sigma, in the first vote; keep it above "
        f"{WORKABLE_SIGNAL:g}",
        "gain kept     what the first vote gains, as a share of what it would gain without noise",
        f"{POPULAR:g}x survives   chance that what has {POPULAR:g} times the average votes goes on",
        "Fewer themes: more signal, coarser questions. More candidates: more variety and work, at no cost in privacy.",
        "A model: votes are spread exponentially over what is asked about. Real votes are mostly more uneven.",
    ]
    if hours:
        lines.append("h             hours of work for one engine of the role, at the measured rates")
    if found.warning:
        lines.append(f"WARNING       {found.warning}")
    settings = {
        "evolution.candidates": best.candidates,
        "evolution.themes": f"[{','.join(map(str, levels_of(best.themes)))}]",
        "evolution.generations": best.generations,
        "privacy.votes_per_record": best.votes_per_record,
        "evolution.survivors": f"{SURVIVORS:g}",
        "evolution.variation.rephrase_share": 1,
    }
    sets = [f"--set {name}={value}" for name, value in settings.items()] + [f"--set {more}" for more in found.more]
    lines += ["To take it    " + " ".join(sets[:4]), "              " + " ".join(sets[4:])]
    return lines


def _in_short(themes: tuple[int, ...]) -> str:
    """How many themes there are in turn."""
    levels = levels_of(themes)
    if len(levels) > 1 and len(set(levels)) == 1:
        return f"{len(levels)} x {levels[0]}"
    return ", ".join(map(str, levels))
