"""Examples of other domains for the language model that drafts prompts, and templates for what it can't draft."""

from __future__ import annotations

EXAMPLE_LISTS: dict[str, dict[str, str]] = {
    "photos of dogs in parks": {
        "subject": "terrier, poodle, puppy, old sheepdog, greyhound, two dogs, dachshund, black labrador",
        "color": "brown, white, black, golden, spotted, grey and white",
        "detail": "wet fur, a red collar, a stick in its mouth, long ears, muddy paws, a wagging tail",
        "background": "green lawn, fallen leaves, a pond, a wooden bench, tall trees, a gravel path",
        "view": "close-up, from the side, from above, from far away, from behind",
    },
    "X-ray images of hands": {
        "subject": "left hand, right hand, wrist, thumb, child's hand, bent fingers, fist",
        "color": "light grey, white on black, dark grey, bluish, washed-out grey",
        "detail": "a ring, a broken finger, a metal screw, swollen joints, thin bones, a plaster cast",
        "background": "black background, a letter in the corner, a bright edge, grey haze, a ruler",
        "view": "from the front, from the side, close-up, whole hand, tilted",
    },
    "vintage travel posters": {
        "subject": "mountain railway, ocean liner, palm beach, old town, ski slope, lighthouse, seaplane",
        "color": "turquoise, orange, deep blue, cream, bright yellow, dark green",
        "detail": "bold letters, a waving woman, long shadows, white sails, smoke from a funnel, a flag",
        "background": "setting sun, snowy peaks, calm sea, starry sky, white clouds, green hills",
        "view": "from above, wide view, from the shore, close-up, through a window",
    },
}
"""Lists of values for other domains, which the language model imitates."""

EXAMPLE_TEXTS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("photos of dogs in parks", {"subject": "terrier", "color": "brown", "detail": "wet fur", "background": "a pond"},
     "a photo of a brown terrier with wet fur beside a pond"),
    ("X-ray images of hands", {"subject": "right hand", "color": "light grey", "detail": "a ring", "view": "tilted"},
     "a light grey X-ray image of a tilted right hand with a ring"),
    ("vintage travel posters", {"subject": "lighthouse", "color": "orange", "background": "calm sea"},
     "a vintage travel poster with an orange lighthouse by a calm sea"),
    ("photos of dogs in parks", {"subject": "puppy", "color": "white", "background": "fallen leaves", "view": "from above"}, # noqa: E501
     "a photo of a white puppy on fallen leaves seen from above"),
)  # fmt: skip

EXAMPLE_CHANGES = (
    ("a photo of a brown terrier with wet fur beside a pond", "a photo of a black poodle with a red collar on a bench"),
    ("a light grey X-ray image of a right hand with a ring", "a white X-ray image of a left wrist with a metal screw"),
    ("a vintage travel poster of an orange lighthouse", "a vintage travel poster of a blue ocean liner at night"),
)

TEXT_TEMPLATES = (
    "one of many {domain}, showing {subject} with {detail}",
    "one of many {domain}, showing {subject} in {color}",
    "one of many {domain}, showing {subject}, {view}",
)
"""Descriptions for what can't be drafted: few values, so that they read as a sentence whatever the values are."""

LABEL_TEMPLATES: dict[str, tuple[str, ...]] = {
    "kind": ("a usual one", "an unusual one", "several of them", "a part of one", "a small one", "a large one"),
    "detail": ("smooth surface", "rough surface", "fine lines", "round shapes", "sharp edges", "dark spots"),
}
"""Lists that each label has for itself, with values for nearly any label."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "subject": ("single object", "several objects", "small object", "large object", "part of an object"),
    "color": ("red", "green", "blue", "yellow", "brown", "grey", "black and white", "pale", "dark"),
    "detail": ("smooth surface", "rough surface", "fine lines", "round shapes", "sharp edges", "dark spots"),
    "background": (
        "plain background",
        "bright background",
        "dark background",
        "blurred background",
        "crowded background",
    ),
    "view": ("close-up", "from the side", "from above", "from far away", "slightly blurred"),
}
"""Values that fit nearly any images, and so say little. A person should replace them."""
