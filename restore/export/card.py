"""What must be said of a model that is passed on: whose it is, its licence, and what it was trained on."""

from pathlib import Path
from typing import NamedTuple

from options.errors import UserError
from restore.inference.restorer import Restorer


class Card(NamedTuple):
    """The facts about a model that its files cannot tell."""

    licence: str
    """Of the weights, as an SPDX id: "MIT", "CC-BY-4.0", ..."""
    author: str
    training_data: str
    training_data_licence: str
    description: str
    source: str
    """Address where the model is published; may be empty."""


REQUIRED = ("licence", "author", "training_data", "training_data_licence")
README = "README.md"


def card_of(restorer: Restorer, **given: str | None) -> Card:
    """The model's card, from what is given, or else from the README.md beside it, which begins with lines such as

        ---
        license: MIT
        training_data: 27 photographs by elementary
        ---

    as model cards do elsewhere. Raises UserError with a line for each fact that neither states.
    """
    readme = restorer.path.parent / README
    facts: dict[str, str] = {"source": "", "description": _description(restorer), **_front_matter(readme)}
    facts |= {name: value for name, value in given.items() if value is not None}
    missing = [name for name in REQUIRED if not facts.get(name, "").strip()]
    if missing:
        place = f'{readme}, between two lines "---" at its top'
        raise UserError(
            *(
                f'{name}: not given, and the model\'s card states it; give it, or write "{name}: ..." into {place}'
                for name in missing
            )
        )
    return Card(**facts)


def _front_matter(readme: Path) -> dict[str, str]:
    """The facts between two lines --- at the top of a README; none where there are no such lines."""
    if not readme.is_file():
        return {}
    head, *lines = readme.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if head.strip() != "---" or "---" not in lines:
        return {}
    pairs = (line.partition(":") for line in lines[: lines.index("---")])
    facts = {name.strip().replace("license", "licence"): value.strip().strip("\"'") for name, _, value in pairs}
    return {name: value for name, value in facts.items() if name in Card._fields and value}


def _description(restorer: Restorer) -> str:
    parameters = sum(weights.numel() for weights in restorer.network.parameters())
    kind = "raw images" if restorer.layout.raw else "pictures"
    does = f"enlarges {kind} {restorer.scale} times" if restorer.scale > 1 else f"restores {kind}"
    return f"{restorer.information.generator.class_name} of {parameters:,} parameters, which {does}"
